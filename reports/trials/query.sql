-- One row a workload and target. A build's outcome is its newest verdict.
WITH tried AS (
  SELECT c.workload_id, b.target_id, b.status, b.compile_ms,
    (SELECT v.outcome FROM verdict v WHERE v.build_id=b.id ORDER BY v.utc DESC, v.id DESC LIMIT 1) AS outcome,
    EXISTS (SELECT 1 FROM measurement m WHERE m.build_id=b.id) AS measured
  FROM build b JOIN candidate c ON c.id=b.candidate_id)
SELECT trim(x.op || ' ' || x.quant) || '  ' || x.shape AS workload, g.product AS target, count(*) AS candidates,
  sum(t.status='ok' AND coalesce(t.outcome,'ok')='ok' AND t.measured) AS measured, sum(t.status='refused') AS refused,
  sum(t.status NOT IN ('ok','refused')) AS "build failed", sum(coalesce(t.outcome,'')='wrong') AS wrong,
  sum(coalesce(t.outcome,'') IN ('crash','guard')) AS "crashed", sum(coalesce(t.outcome,'')='timeout') AS "timed out",
  avg(t.compile_ms) AS "compile [ms]", sum(count(*)) OVER () AS _tried,
  sum(sum(t.status='ok' AND coalesce(t.outcome,'ok')='ok' AND t.measured)) OVER () AS _good
FROM tried t JOIN workload x ON x.id=t.workload_id JOIN target g ON g.id=t.target_id
GROUP BY t.workload_id, t.target_id ORDER BY x.op, x.quant, x.shape, g.product;
