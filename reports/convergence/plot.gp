width = 900
height = 340
load style
set logscale y
set format y "%.3g"
stats data using "_base" nooutput name "BASE"
stats data using "_timed" nooutput name "TIMED"
has_base = exists("BASE_records") && BASE_records > 0
has_time = exists("TIMED_max") && TIMED_max > 1
base = has_base ? BASE_min : NaN
set ylabel "time of one launch (µs, log)"
if (has_time) {
  set multiplot layout 1,2 margins 0.09,0.98,0.17,0.86 spacing 0.07
}
if (rows < 2) { set xrange [0:2] }
set xlabel "candidates measured"
plot data using "candidate":"median [µs]" with points pt 7 ps 0.4 lc rgb "#999999" title "candidate", \
     data using "candidate":"best so far [µs]" with steps lw 2 lc rgb blue title "best so far", \
     base with lines dt 2 lw 1.5 lc rgb orange title (has_base ? "default" : "")
if (has_time) {
  unset ylabel
  unset key
  set xrange [*:*]
  set xlabel "tuning time (s)"
  plot data using "time [s]":"median [µs]" with points pt 7 ps 0.4 lc rgb "#999999", \
       data using "time [s]":"best so far [µs]" with steps lw 2 lc rgb blue, \
       base with lines dt 2 lw 1.5 lc rgb orange
  unset multiplot
}
