-- Version 1 of the store. A migration is never edited once released: its hash is recorded in every store it made.
-- The program sets application_id and user_version in the same transaction.
CREATE TABLE schema_migration(version INTEGER PRIMARY KEY, applied_utc TEXT NOT NULL, tool TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT;
CREATE TABLE store(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;           -- store uid, created, origin, canonical-form version

CREATE TABLE target(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE,           -- class of hardware: what code is generated for
  api TEXT NOT NULL CHECK(api IN('cuda','vulkan','cpu')), arch TEXT NOT NULL, product TEXT NOT NULL, limits TEXT NOT NULL) STRICT;
CREATE TABLE device(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, target_id INTEGER NOT NULL REFERENCES target,
  serial_hash BLOB, host_hash BLOB, software INTEGER NOT NULL DEFAULT 0, noise_floor REAL, calib TEXT) STRICT;      -- one physical unit
CREATE TABLE toolchain(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, compiler TEXT NOT NULL, version TEXT NOT NULL,
  runtime TEXT, driver TEXT, flags TEXT NOT NULL) STRICT;
CREATE TABLE environment(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, kernel TEXT, os TEXT, hypervisor TEXT, container TEXT,
  clock_policy TEXT NOT NULL, power_limit_mw INTEGER, ecc INTEGER, mig TEXT, governor TEXT, boost INTEGER, detail TEXT NOT NULL) STRICT;

CREATE TABLE workload(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, op TEXT NOT NULL, quant TEXT NOT NULL, shape TEXT NOT NULL,
  bucket TEXT NOT NULL, flops INTEGER, bytes INTEGER, ir BLOB NOT NULL) STRICT;
CREATE INDEX workload_op ON workload(op, quant, bucket);
CREATE TABLE candidate(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, workload_id INTEGER NOT NULL REFERENCES workload,
  generator TEXT NOT NULL, trace TEXT NOT NULL, features BLOB) STRICT;
CREATE INDEX candidate_workload ON candidate(workload_id);
CREATE TABLE build(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, candidate_id INTEGER NOT NULL REFERENCES candidate,
  target_id INTEGER NOT NULL REFERENCES target, toolchain_id INTEGER NOT NULL REFERENCES toolchain,
  status TEXT NOT NULL, artifact_sha256 BLOB, bytes INTEGER, regs INTEGER, spills INTEGER, smem INTEGER, compile_ms REAL, message TEXT) STRICT;
CREATE TABLE verdict(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, build_id INTEGER NOT NULL REFERENCES build, device_id INTEGER NOT NULL REFERENCES device,
  reference TEXT NOT NULL, seed INTEGER NOT NULL, rel_l2 REAL, max_abs REAL, outcome TEXT NOT NULL, message TEXT, utc TEXT NOT NULL) STRICT;

CREATE TABLE session(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, command TEXT NOT NULL, tool TEXT NOT NULL, git TEXT, seed INTEGER,
  budget TEXT, started_utc TEXT NOT NULL, ended_utc TEXT, outcome TEXT, search_state BLOB) STRICT;
CREATE TABLE measurement(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, build_id INTEGER NOT NULL REFERENCES build,
  device_id INTEGER NOT NULL REFERENCES device, environment_id INTEGER NOT NULL REFERENCES environment,
  session_id INTEGER NOT NULL REFERENCES session, metric TEXT NOT NULL, unit TEXT NOT NULL, timer TEXT NOT NULL,
  cache TEXT NOT NULL, launch TEXT NOT NULL, rung INTEGER NOT NULL, round INTEGER, n INTEGER NOT NULL, flagged INTEGER NOT NULL,
  median REAL NOT NULL, min REAL NOT NULL, q1 REAL NOT NULL, q3 REAL NOT NULL, mad REAL NOT NULL, ci_lo REAL, ci_hi REAL,
  clock_mhz REAL, stop_reason TEXT NOT NULL, utc TEXT NOT NULL, samples BLOB NOT NULL, clocks BLOB, flags BLOB) STRICT;
CREATE INDEX measurement_build ON measurement(build_id, metric, rung);
CREATE TABLE counter(measurement_id INTEGER NOT NULL REFERENCES measurement, name TEXT NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(measurement_id, name)) STRICT, WITHOUT ROWID;
CREATE TABLE decision(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, workload_id INTEGER NOT NULL REFERENCES workload,
  target_id INTEGER NOT NULL REFERENCES target, toolchain_id INTEGER NOT NULL REFERENCES toolchain, policy TEXT NOT NULL,
  build_id INTEGER NOT NULL REFERENCES build, beat_build_id INTEGER REFERENCES build, log_ratio REAL, ci_lo REAL, ci_hi REAL,
  session_id INTEGER NOT NULL REFERENCES session, utc TEXT NOT NULL, revoked_by INTEGER REFERENCES decision) STRICT;
CREATE INDEX decision_key ON decision(workload_id, target_id, toolchain_id, policy, utc);
CREATE VIEW winner AS SELECT d.* FROM decision d WHERE d.revoked_by IS NULL AND NOT EXISTS (SELECT 1 FROM decision e
  WHERE e.workload_id=d.workload_id AND e.target_id=d.target_id AND e.toolchain_id=d.toolchain_id AND e.policy=d.policy
  AND e.revoked_by IS NULL AND (e.utc, e.id) > (d.utc, d.id));

CREATE TABLE model(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, name TEXT NOT NULL, quant TEXT NOT NULL, params INTEGER, weights_sha256 BLOB) STRICT;
CREATE TABLE series(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, model_id INTEGER REFERENCES model, workload_id INTEGER REFERENCES workload,
  target_id INTEGER NOT NULL REFERENCES target, scenario TEXT NOT NULL, metric TEXT NOT NULL, unit TEXT NOT NULL, higher_better INTEGER NOT NULL) STRICT;
CREATE TABLE run(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, series_id INTEGER NOT NULL REFERENCES series, device_id INTEGER NOT NULL REFERENCES device,
  environment_id INTEGER NOT NULL REFERENCES environment, toolchain_id INTEGER NOT NULL REFERENCES toolchain,
  revision TEXT NOT NULL, order_key INTEGER NOT NULL, manifest_sha256 BLOB, reproduce TEXT NOT NULL, n INTEGER NOT NULL,
  median REAL NOT NULL, q1 REAL, q3 REAL, mad REAL, samples BLOB NOT NULL, utc TEXT NOT NULL) STRICT;
CREATE INDEX run_series ON run(series_id, device_id, order_key);
CREATE TABLE run_kernel(run_id INTEGER NOT NULL REFERENCES run, build_id INTEGER NOT NULL REFERENCES build, phase TEXT NOT NULL,
  calls INTEGER NOT NULL, total_ns INTEGER NOT NULL, PRIMARY KEY(run_id, build_id, phase)) STRICT, WITHOUT ROWID;
CREATE TABLE change_point(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, series_id INTEGER NOT NULL REFERENCES series, device_id INTEGER NOT NULL REFERENCES device,
  before_run INTEGER NOT NULL REFERENCES run, after_run INTEGER NOT NULL REFERENCES run, log_ratio REAL NOT NULL, p REAL, method TEXT NOT NULL,
  confirmed INTEGER, state TEXT NOT NULL DEFAULT 'new', note TEXT, link TEXT) STRICT;
CREATE TABLE imported(id INTEGER PRIMARY KEY, source_store BLOB NOT NULL, file_sha256 BLOB NOT NULL, utc TEXT NOT NULL, rows INTEGER NOT NULL, trusted INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE job(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, target_id INTEGER REFERENCES target, device_id INTEGER REFERENCES device,
  payload TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL DEFAULT 3, worker TEXT, token BLOB, lease_until_utc TEXT, not_before_utc TEXT, created_utc TEXT NOT NULL, done_utc TEXT, error TEXT) STRICT;
CREATE INDEX job_ready ON job(state, target_id, priority DESC, id);
