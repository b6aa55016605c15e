-- One row a candidate of the newest tuning run of each workload and target, in the order first measured. A candidate's time is that of
-- its highest rung, so an early lucky sample does not count as progress.
WITH run AS (
  SELECT s.*, x.op, x.quant, x.shape, g.product,
    row_number() OVER (PARTITION BY s.workload_id, s.target_id ORDER BY s.started_utc DESC, s.id DESC) AS k
  FROM session s JOIN workload x ON x.id=s.workload_id JOIN target g ON g.id=s.target_id
  WHERE EXISTS (SELECT 1 FROM measurement m WHERE m.session_id=s.id AND m.metric='time')),
seen AS (
  SELECT m.session_id, m.build_id, m.median, m.rung, m.n,
    row_number() OVER (PARTITION BY m.session_id, m.build_id ORDER BY m.rung DESC, m.utc DESC, m.id DESC) AS last,
    min(m.id) OVER (PARTITION BY m.session_id, m.build_id) AS entry,
    min(m.elapsed_ms) OVER (PARTITION BY m.session_id, m.build_id) AS elapsed_ms,
    max(m.elapsed_ms) OVER (PARTITION BY m.session_id) AS spent
  FROM measurement m JOIN run ON run.id=m.session_id AND run.k=1 WHERE m.metric='time'),
settled AS (SELECT * FROM seen WHERE last=1),
line AS (
  SELECT t.*, c.generator,
    row_number() OVER (PARTITION BY t.session_id ORDER BY t.entry) AS candidate,
    min(t.median) OVER (PARTITION BY t.session_id ORDER BY t.entry ROWS UNBOUNDED PRECEDING) AS best,
    min(t.median) OVER (PARTITION BY t.session_id) AS final,
    min(CASE WHEN c.generator='default' OR c.generator LIKE 'default %' THEN t.median END) OVER (PARTITION BY t.session_id) AS base
  FROM settled t JOIN build b ON b.id=t.build_id JOIN candidate c ON c.id=b.candidate_id),
failure AS (
  SELECT c.workload_id, b.target_id, count(*) AS n FROM build b JOIN candidate c ON c.id=b.candidate_id
  WHERE b.status<>'ok' OR EXISTS (SELECT 1 FROM verdict v WHERE v.build_id=b.id AND v.outcome<>'ok') GROUP BY 1, 2)
SELECT trim(r.op || ' ' || r.quant) || '  ' || r.shape || '  on ' || r.product AS run, l.candidate,
  l.elapsed_ms/1000.0 AS "time [s]", l.median/1000.0 AS "median [µs]", l.best/1000.0 AS "best so far [µs]", l.rung, l.n AS samples,
  l.generator AS "from", l.base/1000.0 AS _base, printf('%.3g', l.final/1000.0) AS _best,
  coalesce(printf('%.3g', l.base/1000.0), 'not measured') AS _default, coalesce(f.n, 0) AS _failed,
  coalesce(printf('%.0f', l.spent/1000.0), '?') AS _elapsed, r.command AS _command,
  sum(l.elapsed_ms IS NOT NULL) OVER (PARTITION BY l.session_id) AS _timed
FROM line l JOIN run r ON r.id=l.session_id LEFT JOIN failure f ON f.workload_id=r.workload_id AND f.target_id=r.target_id
ORDER BY r.op, r.quant, r.shape, r.product, r.id, l.candidate;
