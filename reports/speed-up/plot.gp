width = 900
height = 140 + 26 * rows
load style
stats data using "low":"high" nooutput
low = STATS_min_x < 1 ? STATS_min_x * 0.9 : 0.9
high = STATS_max_y > 1 ? STATS_max_y * 1.1 : 1.1
set lmargin labelchars * 0.92 + 2
set rmargin 4
set tmargin 2.5
set bmargin 4
set logscale x 2
if (high / low < 5) { set xtics (0.25, 0.5, 0.7, 1, 1.2, 1.5, 2, 2.5, 3, 4) } else { set xtics 2 }
set format x "%g"
set xlabel "times faster than the default (log)"
set xrange [low:high]
set yrange [rows - 0.4:-0.6]
set grid noy
set style fill solid 0.85 noborder
set arrow 1 from first 1, graph 0 to first 1, graph 1 nohead lc rgb "#444444" lw 1.5 dt 1 front
ratio(n) = column("_hatch") == n ? column("speed-up") : NaN
from(x) = x < 1 ? x : 1
to(x) = x < 1 ? 1 : x
plot data using (ratio(0)):0:(from(ratio(0))):(to(ratio(0))):($0 - 0.33):($0 + 0.33):ytic(1) with boxxyerror lc rgb blue dt 1 title "decided", \
     data using (ratio(1)):0:(from(ratio(1))):(to(ratio(1))):($0 - 0.33):($0 + 0.33) with boxxyerror fill pattern 5 border lc rgb grey dt 1 title "unclear", \
     data using (column("speed-up")):0:(column("low")):(column("high")) with xerrorbars lc rgb "#000000" lw 1.2 dt 1 pt 0 title "95 % interval"
