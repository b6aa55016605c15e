# Common look. A plot.gp sets width and height, then loads this file by the variable `style`.
# Variables given by the program: data, out, style, rows, blocks, labelchars.
# Colours: Okabe and Ito; every series also differs in point shape and dash.
set encoding utf8
set datafile separator tab
set datafile missing "NaN"
set datafile columnheaders
set datafile commentschars ""
set term svg size width,height noenhanced background "white" font "sans-serif,14" linewidth 1.2
set output out
set border 3 lc rgb "#444444"
set tics nomirror out
set grid lc rgb "#dddddd" lt 1 lw 0.5
set key at screen 0.5, screen 0.99 center top horizontal maxcols 6
blue = "#0072B2"; orange = "#D55E00"; green = "#009E73"; purple = "#CC79A7"; yellow = "#E69F00"; sky = "#56B4E9"; grey = "#777777"
set linetype 1 lc rgb blue   pt 7 dt 1
set linetype 2 lc rgb orange pt 5 dt 2
set linetype 3 lc rgb green  pt 9 dt 4
set linetype 4 lc rgb purple pt 11 dt 5
set linetype 5 lc rgb yellow pt 13 dt 3
set linetype 6 lc rgb sky    pt 3 dt 1
set linetype cycle 6
