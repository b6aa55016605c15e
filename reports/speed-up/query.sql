-- One row a workload and target: the newest winner against the default schedule.
WITH pick AS (
  SELECT w.*, row_number() OVER (PARTITION BY w.workload_id, w.target_id ORDER BY w.utc DESC, w.id DESC) AS k FROM winner w),
times AS (
  SELECT m.*, row_number() OVER (PARTITION BY m.build_id ORDER BY m.rung DESC, m.utc DESC, m.id DESC) AS k
  FROM measurement m WHERE m.metric='time'),
base AS (  -- the default's build of a workload and target, by its newest measurement
  SELECT c.workload_id, b.target_id, b.id AS build_id, t.median, t.ci_lo, t.ci_hi,
    row_number() OVER (PARTITION BY c.workload_id, b.target_id ORDER BY t.utc DESC, t.id DESC) AS k
  FROM candidate c JOIN build b ON b.candidate_id=c.id JOIN times t ON t.build_id=b.id AND t.k=1
  WHERE c.generator='default' OR c.generator LIKE 'default %'),
pair AS (  -- measured in interleaved rounds
  SELECT p.*, row_number() OVER (PARTITION BY p.a_build_id, p.b_build_id ORDER BY p.utc DESC, p.id DESC) AS k
  FROM comparison p WHERE p.metric='time'),
ratio AS (
  SELECT x.op, x.quant, x.shape, g.product, c.generator, w.utc, t.median AS best, base.median AS slow, t.n AS samples,
    s.command, x.bytes, x.flops,
    CASE WHEN base.build_id=w.build_id THEN 1.0
         WHEN pair.log_ratio IS NOT NULL THEN exp(-pair.log_ratio)
         WHEN base.build_id=w.beat_build_id AND w.log_ratio IS NOT NULL THEN exp(-w.log_ratio)
         ELSE base.median/t.median END AS speedup,
    CASE WHEN base.build_id=w.build_id THEN 1.0
         WHEN pair.log_ratio IS NOT NULL THEN exp(-pair.ci_hi)
         WHEN base.build_id=w.beat_build_id AND w.log_ratio IS NOT NULL THEN exp(-w.ci_hi)
         ELSE base.ci_lo/t.ci_hi END AS low,
    CASE WHEN base.build_id=w.build_id THEN 1.0
         WHEN pair.log_ratio IS NOT NULL THEN exp(-pair.ci_lo)
         WHEN base.build_id=w.beat_build_id AND w.log_ratio IS NOT NULL THEN exp(-w.ci_lo)
         ELSE base.ci_hi/t.ci_lo END AS high,
    base.build_id=w.build_id AS is_default
  FROM pick w
  JOIN workload x ON x.id=w.workload_id JOIN target g ON g.id=w.target_id
  JOIN build b ON b.id=w.build_id JOIN candidate c ON c.id=b.candidate_id JOIN session s ON s.id=w.session_id
  JOIN times t ON t.build_id=w.build_id AND t.k=1
  JOIN base ON base.workload_id=w.workload_id AND base.target_id=w.target_id AND base.k=1
  LEFT JOIN pair ON pair.a_build_id=w.build_id AND pair.b_build_id=base.build_id AND pair.k=1
  WHERE w.k=1),
judged AS (
  SELECT *, CASE WHEN is_default THEN 'same' WHEN low>1 THEN 'faster' WHEN high<1 THEN 'slower' ELSE 'unclear' END AS verdict FROM ratio)
SELECT trim(op || ' ' || quant) || '  ' || shape AS workload, speedup AS "speed-up", low AS "low", high AS "high", verdict,
  slow/1000.0 AS "default [µs]", best/1000.0 AS "winner [µs]", bytes/best AS "winner [GB/s]", flops/best AS "winner [Gop/s]",
  generator AS "winner from", samples, product AS "target", utc AS decided, command AS "tuned by", product AS _product,
  sum(verdict='faster') OVER () AS _faster, sum(verdict='same') OVER () AS _same, sum(verdict='slower') OVER () AS _slower,
  sum(verdict='unclear') OVER () AS _unclear, printf('%.2f', exp(avg(ln(speedup)) OVER ())) AS _geomean,
  CASE WHEN verdict='unclear' THEN 1 ELSE 0 END AS _hatch, command AS _command
FROM judged ORDER BY speedup DESC, op, quant, shape, product;
