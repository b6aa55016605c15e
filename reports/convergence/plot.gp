width = 900
height = 340
load style
stats data using "_base" nooutput name "BASE"
stats data using "_timed" nooutput name "TIMED"
has_base = exists("BASE_records") && BASE_records > 0
has_time = exists("TIMED_max") && TIMED_max > 1
base = has_base ? BASE_min : NaN
stats data using "median [µs]" nooutput name "TIME"
low = TIME_min * 0.9
high = (has_base && BASE_max > TIME_max ? BASE_max : TIME_max) * 1.1
set logscale y
set yrange [low:high]
set format y "%g"
do for [p=-3:7] { set ytics add (sprintf("%g", 2 * 10.0 ** p) 2 * 10.0 ** p, sprintf("%g", 5 * 10.0 ** p) 5 * 10.0 ** p) }
set ylabel "time of one launch (µs, log)"
set tmargin 2.5
if (has_time) {
  set multiplot layout 1,2 margins 0.09,0.98,0.23,0.87 spacing 0.08
}
set xrange [0:*]
set xlabel "candidates measured"
plot data using "candidate":"median [µs]" with points pt 7 ps 0.4 lc rgb "#888888" title "candidate", \
     data using "candidate":"best so far [µs]" with steps lw 2 dt 1 lc rgb blue title "best so far", \
     base with lines dt 2 lw 1.5 lc rgb orange title (has_base ? "default" : "")
if (has_time) {
  unset ylabel
  unset key
  set xlabel "tuning time (s)"
  plot data using "time [s]":"median [µs]" with points pt 7 ps 0.4 lc rgb "#888888", \
       data using "time [s]":"best so far [µs]" with steps lw 2 dt 1 lc rgb blue, \
       base with lines dt 2 lw 1.5 lc rgb orange
  unset multiplot
}
