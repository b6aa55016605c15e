width = 900
height = 110 + 26 * rows
load style
stats data using "low":"high" nooutput
set lmargin labelchars * 0.92 + 2
set rmargin 4
set tmargin 4
set logscale x 2
set xlabel "speed-up over the default schedule (times, log)"
set yrange [rows - 0.4:-0.6]
set grid noy
set style fill solid 0.85 noborder
set arrow 1 from first 1, graph 0 to first 1, graph 1 nohead lc rgb "#444444" lw 1.5 front
left(x) = x < 1 ? x : 1
set xrange [(STATS_min_x < 1 ? STATS_min_x * 0.9 : 0.9) : (STATS_max_y > 1 ? STATS_max_y * 1.1 : 1.1)]
plot data using (column("_hatch") == 0 ? column("speed-up") : NaN):0:(left(column("speed-up"))):(column("speed-up") < 1 ? 1 : column("speed-up")):($0 - 0.33):($0 + 0.33):ytic(1) \
       with boxxyerror lc rgb blue title "decided", \
     data using (column("_hatch") == 1 ? column("speed-up") : NaN):0:(left(column("speed-up"))):(column("speed-up") < 1 ? 1 : column("speed-up")):($0 - 0.33):($0 + 0.33) \
       with boxxyerror fill pattern 5 border lc rgb grey title "unclear", \
     data using (column("speed-up")):0:(column("low")):(column("high")) with xerrorbars lc rgb "#000000" lw 1.2 pt 0 title "95 % interval"
