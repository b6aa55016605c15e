-- One row a run; charts by model, metric and device, lines by scenario.
SELECT coalesce(m.name || ' ' || m.quant, trim(x.op || ' ' || x.quant) || '  ' || x.shape, 'unknown') || ': ' || s.metric || ' [' || s.unit
    || '] on ' || g.product || coalesce(' ' || lower(substr(hex(d.serial_hash), 1, 6)), '') AS chart,
  s.scenario AS series,
  dense_rank() OVER (PARTITION BY s.model_id, s.workload_id, s.metric, s.unit, r.device_id ORDER BY r.order_key, r.utc) AS "run",
  r.median, coalesce(r.q1, r.median) AS q1, coalesce(r.q3, r.median) AS q3, r.n AS repetitions, r.revision, r.utc,
  k.compiler || ' ' || k.version AS compiler, coalesce(k.driver, '') AS driver, r.reproduce AS command,
  s.unit AS _unit, substr(r.utc, 6, 5) || ' ' || substr(r.utc, 12, 5) AS _label,
  max(r.utc) OVER (PARTITION BY s.model_id, s.workload_id, s.metric, s.unit, r.device_id) AS _newest, r.reproduce AS _command
FROM run r JOIN series s ON s.id=r.series_id JOIN target g ON g.id=s.target_id JOIN device d ON d.id=r.device_id
JOIN toolchain k ON k.id=r.toolchain_id LEFT JOIN model m ON m.id=s.model_id LEFT JOIN workload x ON x.id=s.workload_id
ORDER BY chart, s.scenario, s.id, r.order_key, r.utc, r.id;
