-- One row a kernel and phase of the newest run of each series that has kernel times.
WITH pick AS (
  SELECT r.*, row_number() OVER (PARTITION BY r.series_id, r.device_id ORDER BY r.order_key DESC, r.utc DESC, r.id DESC) AS k
  FROM run r WHERE EXISTS (SELECT 1 FROM run_kernel q WHERE q.run_id=r.id))
SELECT coalesce(m.name || ' ' || m.quant || ' ', '') || s.scenario || ': ' || q.phase AS part,
  trim(x.op || ' ' || x.quant) || '  ' || x.shape AS kernel, q.total_ns/1e6 AS "total [ms]",
  100.0*q.total_ns/sum(q.total_ns) OVER (PARTITION BY q.run_id, q.phase) AS "share [%]", q.calls,
  q.total_ns/1e3/q.calls AS "per call [µs]", c.generator AS "from",
  sum(q.calls) OVER (PARTITION BY q.run_id, q.phase) AS _calls,
  printf('%.2f', sum(q.total_ns) OVER (PARTITION BY q.run_id, q.phase)/1e6) AS _total, r.utc AS _utc, r.reproduce AS _command
FROM pick r JOIN run_kernel q ON q.run_id=r.id JOIN build b ON b.id=q.build_id JOIN candidate c ON c.id=b.candidate_id
JOIN workload x ON x.id=c.workload_id JOIN series s ON s.id=r.series_id LEFT JOIN model m ON m.id=s.model_id
WHERE r.k=1 ORDER BY part, r.id, q.total_ns DESC, kernel, q.build_id;
