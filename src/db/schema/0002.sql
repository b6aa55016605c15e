-- Version 2. A session knows what it tunes, so that an interrupted one is found again; a measurement knows how much tuning
-- time had been spent when it was taken, so that a resumed session has no gap; pairs measured in interleaved rounds are kept.
ALTER TABLE session ADD COLUMN workload_id INTEGER REFERENCES workload;
ALTER TABLE session ADD COLUMN target_id INTEGER REFERENCES target;
CREATE INDEX session_workload ON session(workload_id, target_id, started_utc);
ALTER TABLE measurement ADD COLUMN elapsed_ms INTEGER;
CREATE INDEX measurement_session ON measurement(session_id, id);
CREATE INDEX build_candidate ON build(candidate_id, target_id);
CREATE INDEX verdict_build ON verdict(build_id);
CREATE TABLE comparison(id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, a_build_id INTEGER NOT NULL REFERENCES build,
  b_build_id INTEGER NOT NULL REFERENCES build, device_id INTEGER NOT NULL REFERENCES device,
  environment_id INTEGER NOT NULL REFERENCES environment, session_id INTEGER NOT NULL REFERENCES session,
  metric TEXT NOT NULL, rounds INTEGER NOT NULL, log_ratio REAL NOT NULL, ci_lo REAL, ci_hi REAL,
  verdict TEXT NOT NULL CHECK(verdict IN('faster','slower','same','unclear')), utc TEXT NOT NULL) STRICT;
CREATE INDEX comparison_pair ON comparison(a_build_id, b_build_id);
