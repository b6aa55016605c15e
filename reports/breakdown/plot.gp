width = 900
height = 100 + 24 * rows
load style
set lmargin labelchars * 0.92 + 2
set rmargin 10
set tmargin 1
set bmargin 4
unset key
set xlabel "time in the kernel (ms)"
set xrange [0:*]
set yrange [rows - 0.4:-0.6]
set grid noy
set style fill solid 0.85 noborder
plot data using (column("total [ms]")):0:(0):(column("total [ms]")):($0 - 0.33):($0 + 0.33):ytic(1) with boxxyerror lc rgb blue dt 1, \
     data using (column("total [ms]")):0:(sprintf(" %.1f %%", column("share [%]"))) with labels left font ",12"
