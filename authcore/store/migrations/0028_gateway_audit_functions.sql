-- What writes the audit trail (docs/audit-trail.md). The functions have the rights of the role that migrates, which owns the
-- tables: the gateway's role adds rows and has whole months dropped, and can do nothing else. The row of gateway_audit_head
-- is locked first, always, so that several gateways make one chain and never wait for each other in a circle.

CREATE FUNCTION gateway_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'rows of the audit trail are neither changed nor deleted: % on %', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'GATEWAY_AUDIT_RETENTION_DAYS drops whole months.';
END $body$;

-- ALWAYS: for writers with session_replication_role = replica too. A trigger on rows is cloned for each partition.
CREATE TRIGGER gateway_audit_rows AFTER UPDATE OR DELETE ON gateway_audit
    FOR EACH ROW EXECUTE FUNCTION gateway_audit_refuse();
CREATE TRIGGER gateway_audit_truncate BEFORE TRUNCATE ON gateway_audit
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_audit_refuse();
CREATE TRIGGER gateway_audit_truncate BEFORE TRUNCATE ON gateway_audit_rest
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_audit_refuse();
ALTER TABLE gateway_audit ENABLE ALWAYS TRIGGER gateway_audit_rows;
ALTER TABLE gateway_audit ENABLE ALWAYS TRIGGER gateway_audit_truncate;
ALTER TABLE gateway_audit_rest ENABLE ALWAYS TRIGGER gateway_audit_rows;
ALTER TABLE gateway_audit_rest ENABLE ALWAYS TRIGGER gateway_audit_truncate;

-- Each part as its length in bytes of UTF-8, a colon and itself, or a dash if it is null; with commas between.
CREATE FUNCTION gateway_audit_canonical(VARIADIC parts text[]) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
    SELECT convert_to(string_agg(
        CASE WHEN part IS NULL THEN '-' ELSE octet_length(convert_to(part, 'UTF8')) || ':' || part END, ',' ORDER BY place
    ), 'UTF8')
    FROM unnest(parts) WITH ORDINALITY AS one (part, place)
$body$;

CREATE FUNCTION gateway_audit_moment(moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$body$;

CREATE FUNCTION gateway_audit_write(of_writer uuid, number bigint, records jsonb, moment timestamptz)
RETURNS TABLE (last_seq bigint, last_hash bytea) LANGUAGE plpgsql AS $body$
DECLARE
    head gateway_audit_head;
    one record;
BEGIN
    SELECT * INTO STRICT head FROM gateway_audit_head FOR UPDATE;
    INSERT INTO gateway_audit_writers AS w (writer, batch) VALUES (of_writer, number)
    ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, seen_at = now() WHERE w.batch < excluded.batch;
    IF FOUND THEN
        -- Never before the row before it: so a month's rows are one piece of the chain.
        head.written_at := greatest(head.written_at, coalesce(moment, clock_timestamp()));
        FOR one IN
            SELECT r.* FROM ROWS FROM (jsonb_to_recordset(records) AS (
                at timestamptz, event text, outcome text, reason text, user_id uuid, email text, organization_id uuid,
                api_key_id uuid, session_id uuid, operator text, target text, address text, user_agent text,
                request_id text, details text
            )) WITH ORDINALITY AS r ORDER BY r.ordinality
        LOOP
            head.seq := head.seq + 1;
            head.hash := sha256(head.hash || gateway_audit_canonical(
                head.seq::text, gateway_audit_moment(head.written_at), gateway_audit_moment(one.at), one.event,
                one.outcome, one.reason, one.user_id::text, one.email, one.organization_id::text, one.api_key_id::text,
                one.session_id::text, one.operator, one.target, one.address, one.user_agent, one.request_id,
                one.details, of_writer::text
            ));
            INSERT INTO gateway_audit (
                seq, written_at, at, event, outcome, reason, user_id, email, organization_id, api_key_id, session_id,
                operator, target, address, user_agent, request_id, details, writer, hash
            ) VALUES (
                head.seq, head.written_at, one.at, one.event, one.outcome, one.reason, one.user_id, one.email,
                one.organization_id, one.api_key_id, one.session_id, one.operator, one.target, one.address,
                one.user_agent, one.request_id, one.details, of_writer, head.hash
            );
        END LOOP;
        UPDATE gateway_audit_head SET seq = head.seq, hash = head.hash, written_at = head.written_at;
    END IF;
    RETURN QUERY SELECT head.seq, head.hash;
END $body$;

-- Make the partition of the month that begins at `month`, UTC, unless it is there; rows that waited for it move into it.
CREATE FUNCTION gateway_audit_partition(month timestamp) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    part text := 'gateway_audit_' || to_char(month, 'YYYY_MM');
    begins timestamptz := month AT TIME ZONE 'UTC';
    ends timestamptz := (month + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE gateway_audit INCLUDING CONSTRAINTS INCLUDING INDEXES)', part);
    IF EXISTS (SELECT FROM gateway_audit_rest WHERE written_at >= begins AND written_at < ends) THEN
        EXECUTE format('INSERT INTO %I SELECT * FROM gateway_audit_rest WHERE written_at >= $1 AND written_at < $2', part)
        USING begins, ends;
        ALTER TABLE gateway_audit_rest DISABLE TRIGGER USER;
        DELETE FROM gateway_audit_rest WHERE written_at >= begins AND written_at < ends;
        ALTER TABLE gateway_audit_rest ENABLE ALWAYS TRIGGER gateway_audit_rows;
        ALTER TABLE gateway_audit_rest ENABLE ALWAYS TRIGGER gateway_audit_truncate;
    END IF;
    EXECUTE format('ALTER TABLE gateway_audit ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, begins, ends);
    EXECUTE format('CREATE TRIGGER gateway_audit_truncate BEFORE TRUNCATE ON %I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION gateway_audit_refuse()', part);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER gateway_audit_rows', part);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER gateway_audit_truncate', part);
END $body$;

CREATE FUNCTION gateway_audit_tidy(keep_days integer, moment timestamptz) RETURNS integer LANGUAGE plpgsql AS $body$
DECLARE
    day timestamp := moment AT TIME ZONE 'UTC';
    month timestamp;
    part text;
    last record;
    dropped integer := 0;
BEGIN
    PERFORM FROM gateway_audit_head FOR UPDATE;
    -- As an array: no query may be open on a table that is altered.
    FOREACH month IN ARRAY ARRAY(
        SELECT date_trunc('month', written_at AT TIME ZONE 'UTC') FROM gateway_audit_rest
        UNION SELECT date_trunc('month', day) + n * interval '1 month' FROM generate_series(0, 2) AS n ORDER BY 1
    ) LOOP
        PERFORM gateway_audit_partition(month);
    END LOOP;
    FOREACH part IN ARRAY ARRAY(
        SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'gateway_audit'::regclass AND c.relname ~ '^gateway_audit_[0-9]{4}_[0-9]{2}$'
            AND keep_days > 0
            AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= day - make_interval(days => keep_days)
        ORDER BY 1
    ) LOOP
        EXECUTE format('SELECT seq, hash FROM %I ORDER BY seq DESC LIMIT 1', part) INTO last;
        IF last.seq IS NOT NULL THEN
            UPDATE gateway_audit_head SET dropped_seq = last.seq, dropped_hash = last.hash;
        END IF;
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    DELETE FROM gateway_audit_writers WHERE seen_at < moment - interval '30 days';
    RETURN dropped;
END $body$;

-- What the gateway's role may call. No days are the end of a month that is less than 31 days old.
CREATE FUNCTION gateway_audit_append(of_writer uuid, number bigint, records jsonb)
RETURNS TABLE (last_seq bigint, last_hash bytea) LANGUAGE sql SECURITY DEFINER AS $body$
    SELECT * FROM gateway_audit_write(of_writer, number, records, NULL)
$body$;

CREATE FUNCTION gateway_audit_upkeep(keep_days integer) RETURNS integer LANGUAGE sql SECURITY DEFINER
SET lock_timeout = '2s' AS $body$
    SELECT gateway_audit_tidy(CASE WHEN keep_days > 0 THEN greatest(keep_days, 31) ELSE 0 END, now())
$body$;

REVOKE ALL ON FUNCTION gateway_audit_write(uuid, bigint, jsonb, timestamptz), gateway_audit_partition(timestamp),
    gateway_audit_tidy(integer, timestamptz), gateway_audit_append(uuid, bigint, jsonb), gateway_audit_upkeep(integer)
    FROM PUBLIC;

-- The schema of the tables, and nothing of a caller's: its temporary tables come last.
DO $body$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY[
        'gateway_audit_append(uuid, bigint, jsonb)', 'gateway_audit_upkeep(integer)'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one, current_schema());
    END LOOP;
END $body$;

SELECT gateway_audit_upkeep(0);
