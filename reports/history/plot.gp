width = 900
height = 360
load style
stats data using "run" nooutput name "RUN"
runs = exists("RUN_max") ? RUN_max : 1
set xrange [0.5:runs + 0.5]
set yrange [0:*]
set xlabel "run"
set ylabel "median"
if (runs <= 16) {
  set xtics rotate by -35
  set bmargin 7
  plot for [i=0:blocks-1] data index i using "run":"median":"q1":"q3":xtic(stringcolumn("_label")) with yerrorlines lt i+1 lw 1.6 ps 0.8 title columnheader(1)
} else {
  plot for [i=0:blocks-1] data index i using "run":"median":"q1":"q3" with yerrorlines lt i+1 lw 1.6 ps 0.6 title columnheader(1)
}
