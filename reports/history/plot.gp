width = 900
height = 360
load style
stats data using "run" nooutput name "RUN"
runs = exists("RUN_max") ? RUN_max : 1
set xrange [0.5:runs + 0.5]
set yrange [0:*]
set ylabel "median"
set tmargin 3
set style data yerrorlines
if (runs <= 16) {
  set xtics rotate by -35
  set bmargin 5
  set rmargin 8
  plot for [i=0:blocks-1] data index i using "run":"median":"q1":"q3":xtic(stringcolumn("_label")) lt i+1 lw 1.6 ps 0.8 title columnheader(1)
} else {
  set xlabel "run"
  plot for [i=0:blocks-1] data index i using "run":"median":"q1":"q3" lt i+1 lw 1.6 ps 0.6 title columnheader(1)
}
