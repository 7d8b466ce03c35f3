SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
COMMENT ON SCHEMA public IS 'standard public schema';
CREATE SCHEMA sync_pipeline;
CREATE FUNCTION sync_pipeline.feed_material() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' OR 11 <> (
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND a.attname = ANY ('{extra,id,is_global,is_new,made_at,name,price,stock,tags,tenant_id,unit}'::pg_catalog.name[])
    ) THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, operation)
        SELECT 'material', 'truncate'
        WHERE NOT EXISTS (
            SELECT FROM "sync_pipeline"."change_event" e
            WHERE e.old_scope_key IS NULL AND e.new_scope_key IS NULL AND e.entity_type = 'material'
              AND e.xid = pg_catalog.pg_current_xact_id()
        );
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, new_scope_key)
        SELECT 'material', pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C", 'insert', CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END FROM new_rows t;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, old_scope_key)
        SELECT 'material', pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C", 'delete', CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END FROM old_rows t;
    ELSE
        -- nth: ids that are not unique must not multiply.
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, old_scope_key, new_scope_key)
        SELECT 'material', coalesce(n.row_id, o.row_id), 'update', o.scope_key, n.scope_key
        FROM (
            SELECT pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C" AS row_id, CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END AS scope_key, ROW(t."extra", t."id", t."is_global", t."is_new", t."made_at", t."name", t."price", t."stock", t."tags", t."tenant_id", t."unit") AS image,
                   pg_catalog.row_number() OVER (PARTITION BY pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C") AS nth
            FROM old_rows t
        ) o FULL JOIN (
            SELECT pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C" AS row_id, CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END AS scope_key, ROW(t."extra", t."id", t."is_global", t."is_new", t."made_at", t."name", t."price", t."stock", t."tags", t."tenant_id", t."unit") AS image,
                   pg_catalog.row_number() OVER (PARTITION BY pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C") AS nth
            FROM new_rows t
        ) n ON n.row_id = o.row_id AND n.nth = o.nth
        WHERE o.nth IS NULL OR n.nth IS NULL OR o.image OPERATOR(pg_catalog.*<>) n.image;
    END IF;
    IF FOUND AND pg_catalog.current_setting('max_prepared_transactions') = '0'
       AND pg_catalog.current_setting('sync_pipeline.notified', true) IS DISTINCT FROM '1'
       AND pg_catalog.pg_try_advisory_xact_lock(1937337955, (
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::int8 % 65536)::int4)
    THEN
        PERFORM pg_catalog.pg_notify('sync_pipeline_changes', ''), pg_catalog.set_config('sync_pipeline.notified', '1', true);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sync_pipeline.feed_material() IS 'sync-pipeline feed v1 of entity material: writes change events; `sync-pipeline feed remove` removes it';
CREATE FUNCTION sync_pipeline.feed_work() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' OR 5 <> (
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND a.attname = ANY ('{id,is_global,name,tenant_id,unit}'::pg_catalog.name[])
    ) THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, operation)
        SELECT 'work', 'truncate'
        WHERE NOT EXISTS (
            SELECT FROM "sync_pipeline"."change_event" e
            WHERE e.old_scope_key IS NULL AND e.new_scope_key IS NULL AND e.entity_type = 'work'
              AND e.xid = pg_catalog.pg_current_xact_id()
        );
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, new_scope_key)
        SELECT 'work', pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C", 'insert', CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END FROM new_rows t;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, old_scope_key)
        SELECT 'work', pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C", 'delete', CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END FROM old_rows t;
    ELSE
        -- nth: ids that are not unique must not multiply.
        INSERT INTO "sync_pipeline"."change_event" (entity_type, db_id, operation, old_scope_key, new_scope_key)
        SELECT 'work', coalesce(n.row_id, o.row_id), 'update', o.scope_key, n.scope_key
        FROM (
            SELECT pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C" AS row_id, CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END AS scope_key, ROW(t."id", t."is_global", t."name", t."tenant_id", t."unit") AS image,
                   pg_catalog.row_number() OVER (PARTITION BY pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C") AS nth
            FROM old_rows t
        ) o FULL JOIN (
            SELECT pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C" AS row_id, CASE WHEN t."is_global"::text = 'true' THEN 'global' ELSE coalesce(pg_catalog.left(t."tenant_id"::text, 129), 'global') END AS scope_key, ROW(t."id", t."is_global", t."name", t."tenant_id", t."unit") AS image,
                   pg_catalog.row_number() OVER (PARTITION BY pg_catalog.left(t."id"::text, 513) COLLATE pg_catalog."C") AS nth
            FROM new_rows t
        ) n ON n.row_id = o.row_id AND n.nth = o.nth
        WHERE o.nth IS NULL OR n.nth IS NULL OR o.image OPERATOR(pg_catalog.*<>) n.image;
    END IF;
    IF FOUND AND pg_catalog.current_setting('max_prepared_transactions') = '0'
       AND pg_catalog.current_setting('sync_pipeline.notified', true) IS DISTINCT FROM '1'
       AND pg_catalog.pg_try_advisory_xact_lock(1937337955, (
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::int8 % 65536)::int4)
    THEN
        PERFORM pg_catalog.pg_notify('sync_pipeline_changes', ''), pg_catalog.set_config('sync_pipeline.notified', '1', true);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sync_pipeline.feed_work() IS 'sync-pipeline feed v1 of entity work: writes change events; `sync-pipeline feed remove` removes it';
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.materials (
    id uuid NOT NULL,
    tenant_id text,
    is_global boolean DEFAULT false NOT NULL,
    name text,
    unit text,
    price numeric(14,2),
    extra jsonb,
    tags text[],
    made_at timestamp with time zone,
    stock bigint,
    is_new boolean,
    updated_at timestamp with time zone DEFAULT now()
);
CREATE TABLE public.works (
    id bigint NOT NULL,
    tenant_id text,
    is_global boolean DEFAULT false NOT NULL,
    name text,
    unit text,
    updated_at timestamp with time zone DEFAULT now()
);
CREATE TABLE sync_pipeline.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE sync_pipeline.change_event (
    id bigint NOT NULL,
    entity_type text NOT NULL,
    db_id text,
    operation text NOT NULL,
    old_scope_key text,
    new_scope_key text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT change_event_operation CHECK ((operation = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text, 'truncate'::text])))
);
ALTER TABLE sync_pipeline.change_event ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sync_pipeline.change_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sync_pipeline.index_state (
    collection text NOT NULL COLLATE pg_catalog."C",
    document_id text NOT NULL COLLATE pg_catalog."C",
    point_id uuid NOT NULL,
    scope text NOT NULL,
    scope_key text NOT NULL COLLATE pg_catalog."C",
    tenant_id text COLLATE pg_catalog."C",
    entity_type text NOT NULL COLLATE pg_catalog."C",
    db_id text NOT NULL COLLATE pg_catalog."C",
    embed_hashes jsonb DEFAULT '{}'::jsonb NOT NULL,
    payload_hash text,
    status text NOT NULL,
    view_status jsonb,
    error_code text,
    last_error text,
    retry_count integer DEFAULT 0 NOT NULL,
    next_retry_at timestamp with time zone,
    last_synced_at timestamp with time zone,
    last_sync_attempt_at timestamp with time zone,
    vector_version text,
    source_snapshot_at timestamp with time zone,
    previous_scope_key text COLLATE pg_catalog."C",
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT index_state_scope CHECK ((scope = ANY (ARRAY['global'::text, 'tenant'::text]))),
    CONSTRAINT index_state_status CHECK ((status = ANY (ARRAY['synced'::text, 'pending'::text, 'stale'::text, 'failed'::text])))
);
CREATE TABLE sync_pipeline.scope_state (
    collection text NOT NULL COLLATE pg_catalog."C",
    scope_key text NOT NULL COLLATE pg_catalog."C",
    rows bigint NOT NULL,
    documents bigint NOT NULL,
    quarantined bigint NOT NULL,
    failed bigint NOT NULL,
    digest text,
    watermark timestamp with time zone,
    source_snapshot_at timestamp with time zone,
    last_success_at timestamp with time zone,
    last_full_at timestamp with time zone,
    vanished_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE VIEW sync_pipeline.document_status AS
 SELECT document.collection,
    document.document_id,
    document.point_id,
    document.scope,
    document.scope_key,
    document.tenant_id,
    document.entity_type,
    document.db_id,
    document.embed_hashes,
    document.payload_hash,
    document.status,
    document.view_status,
    document.error_code,
    document.last_error,
    document.retry_count,
    document.next_retry_at,
    document.last_synced_at,
    document.last_sync_attempt_at,
    document.vector_version,
    document.source_snapshot_at,
    document.previous_scope_key,
    document.created_at,
    document.updated_at,
        CASE
            WHEN (document.status = 'synced'::text) THEN GREATEST(scope.last_full_at, document.source_snapshot_at)
            ELSE NULL::timestamp with time zone
        END AS last_seen_at,
    scope.last_success_at AS scope_last_success_at,
    scope.last_full_at AS scope_last_full_at,
    scope.vanished_at AS scope_vanished_at
   FROM (sync_pipeline.index_state document
     LEFT JOIN sync_pipeline.scope_state scope USING (collection, scope_key));
CREATE TABLE sync_pipeline.embedding_cache (
    model_id text NOT NULL COLLATE pg_catalog."C",
    text_hash text NOT NULL COLLATE pg_catalog."C",
    vector bytea NOT NULL,
    dimension integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE ONLY sync_pipeline.embedding_cache ALTER COLUMN vector SET STORAGE EXTERNAL;
CREATE TABLE sync_pipeline.embedding_rate (
    model_id text NOT NULL COLLATE pg_catalog."C",
    texts_per_second double precision NOT NULL,
    measured_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE sync_pipeline.generation (
    collection text NOT NULL COLLATE pg_catalog."C",
    alias text NOT NULL COLLATE pg_catalog."C",
    model_id text NOT NULL,
    dimension integer NOT NULL,
    views jsonb NOT NULL,
    sparse_id text NOT NULL,
    description text NOT NULL,
    is_active boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE sync_pipeline.quarantine (
    scope_key text NOT NULL COLLATE pg_catalog."C",
    entity_type text NOT NULL COLLATE pg_catalog."C",
    db_id text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL,
    detail text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE sync_pipeline.scope_lease (
    scope_key text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL,
    token bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
INSERT INTO public.materials VALUES ('ae7be26c-daa7-42ca-1480-68d5ac90eaca', 'globex', false, 'gypsum board 12.5 mm 1', 'м2', 890.00, NULL, NULL, '2026-01-02 02:04:05.678+00', 1000000007, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('aaf2f899-9237-9705-dac8-44c0a2a1d45f', 'acme', false, 'Dübel Ø 8 2', NULL, 0.10, '{"n": 2, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 03:04:05.678+00', 2000000014, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('9678f7a7-939f-457f-a0d9-353761e189c7', NULL, true, '  cement   M500  3', 'kg', NULL, NULL, NULL, '2026-01-02 04:04:05.678+00', 3000000021, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('fd6b6fc9-220b-72d2-1683-ae8e4f50a210', 'acme', false, 'B25/30 concrete 50x150 4', 'м2', 12.50, '{"n": 4, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-02 05:04:05.678+00', 4000000028, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('7b1f6dff-14d8-c2df-eb7d-a9487be0612d', 'globex', false, 'Штукатурка гипсовая Ротбанд 5', NULL, 890.00, NULL, NULL, '2026-01-02 06:04:05.678+00', 5000000035, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('36604411-a85d-b2bd-9e97-e22bfb5b692d', NULL, true, 'gypsum board 12.5 mm 6', 'kg', 0.10, '{"n": 6, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 07:04:05.678+00', 6000000042, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('0449904f-bf32-607b-f8ce-5c26823dbc29', 'globex', false, 'Dübel Ø 8 7', 'м2', NULL, NULL, NULL, '2026-01-02 08:04:05.678+00', 7000000049, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('980b79c2-a71b-9bcc-117e-08a990b5b332', 'acme', false, '  cement   M500  8', NULL, 12.50, '{"n": 8, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-02 09:04:05.678+00', 8000000056, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('5bbb291c-c1e3-8a05-1365-ee9edb7cbd14', NULL, true, 'B25/30 concrete 50x150 9', 'kg', 890.00, NULL, NULL, '2026-01-02 10:04:05.678+00', 9000000063, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('e66050aa-5d0a-7e0e-cb49-429ea4b0a32b', 'acme', false, 'Штукатурка гипсовая Ротбанд 10', 'м2', 0.10, '{"n": 10, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 11:04:05.678+00', 10000000070, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('c4534fe0-ca25-6b33-1e9a-3f14fe17229d', 'globex', false, 'gypsum board 12.5 mm 11', NULL, NULL, NULL, NULL, '2026-01-02 12:04:05.678+00', 11000000077, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('abeccf9a-e147-d854-3653-4371f961c95b', NULL, true, 'Dübel Ø 8 12', 'kg', 12.50, '{"n": 12, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-02 13:04:05.678+00', 12000000084, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('01eea3d0-8de1-40d1-0f20-8f90a16b712c', 'globex', false, '  cement   M500  13', 'м2', 890.00, NULL, NULL, '2026-01-02 14:04:05.678+00', 13000000091, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('29ff1cd5-62db-e3e0-bac6-ef5eab2d3945', 'acme', false, 'B25/30 concrete 50x150 14', NULL, 0.10, '{"n": 14, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 15:04:05.678+00', 14000000098, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('408579fb-7db2-4b91-1748-3db59cddd769', NULL, true, 'Штукатурка гипсовая Ротбанд 15', 'kg', NULL, NULL, NULL, '2026-01-02 16:04:05.678+00', 15000000105, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('ae562ec7-7081-8f5e-26a8-840cd0699a16', 'acme', false, 'gypsum board 12.5 mm 16', 'м2', 12.50, '{"n": 16, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-02 17:04:05.678+00', 16000000112, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('e12e0ff7-6126-c187-8326-5a7d588b719a', 'globex', false, 'Dübel Ø 8 17', NULL, 890.00, NULL, NULL, '2026-01-02 18:04:05.678+00', 17000000119, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('05ea0654-df27-241b-8d24-4a19258f8adc', NULL, true, '  cement   M500  18', 'kg', 0.10, '{"n": 18, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 19:04:05.678+00', 18000000126, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('d92ad8f4-c2a4-686c-320f-29aef4c89d82', 'globex', false, 'B25/30 concrete 50x150 19', 'м2', NULL, NULL, NULL, '2026-01-02 20:04:05.678+00', 19000000133, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('91c0b537-fb0d-7a73-160b-cedcfcf305fe', 'acme', false, 'Штукатурка гипсовая Ротбанд 20', NULL, 12.50, '{"n": 20, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-02 21:04:05.678+00', 20000000140, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('af533170-e996-8b9d-e45a-b0842b54a315', NULL, true, 'gypsum board 12.5 mm 21', 'kg', 890.00, NULL, NULL, '2026-01-02 22:04:05.678+00', 21000000147, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('aa15b924-3a9f-99d1-22d5-803606e3c4df', 'acme', false, 'Dübel Ø 8 22', 'м2', 0.10, '{"n": 22, "color": "white", "sizes": [1, 2.5, 3]}', NULL, '2026-01-02 23:04:05.678+00', 22000000154, true, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('bc0ac5c4-5aa0-6caf-01aa-7c9b27f1191f', 'globex', false, '  cement   M500  23', NULL, NULL, NULL, NULL, '2026-01-03 00:04:05.678+00', 23000000161, false, '2026-11-20 10:00:00+00');
INSERT INTO public.materials VALUES ('dfcd69dd-8400-97f1-2b65-d678f4091b8b', NULL, true, 'B25/30 concrete 50x150 24', 'kg', 12.50, '{"n": 24, "color": "white", "sizes": [1, 2.5, 3]}', '{new,"say \"hi\"",NULL}', '2026-01-03 01:04:05.678+00', 24000000168, true, '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (1, 'acme', false, 'laying of tiles 1', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (2, 'acme', false, 'laying of tiles 2', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (3, NULL, true, 'laying of tiles 3', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (4, 'acme', false, 'laying of tiles 4', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (5, 'acme', false, 'laying of tiles 5', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (6, NULL, true, 'laying of tiles 6', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (7, 'acme', false, '   ', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO public.works VALUES (8, NULL, false, 'nobody', 'm2', '2026-11-20 10:00:00+00');
INSERT INTO sync_pipeline.alembic_version VALUES ('r0002_feed_and_rates');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '680f6b16da039cc13589cc89b0d7c0b5', '\x00000000baf43a3e00000000baf43abe00000000baf43abebaf43a3ebaf43a3ebaf43a3ebaf43abebaf43a3e0000000000000000baf4ba3ebaf4ba3e00000000baf43abebaf43abe00000000baf43abebaf43abebaf4babebaf4babe00000000baf43a3e000000000000000000000000000000000000000000000000baf43abe', 32, '2026-11-25 13:10:51.275798+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'defbc73e6009058411a11b4248b534b9', '\x00000000abd2483e00000000abd2483e0000000000000000abd2c83eabd2483e0000000000000000abd2483e0000000000000000abd2483eabd2483eabd2483eabd248beabd2c8be00000000abd248beabd248beabd248beabd2c8be00000000abd2483e0000000000000000000000000000000000000000abd248beabd248be', 32, '2026-11-25 13:10:51.275798+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '12e39451195f17bb9606c01d8a2ea608', '\x000000002ef9643e00000000000000002ef964be000000002ef9643e2ef9643e00000000000000002ef9643e000000002ef964be2ef9643e2ef9643e000000002ef964be00000000000000002ef964be2ef964be2ef964be2ef9e4be2ef9643e000000002ef9643e2ef9643e000000000000000000000000000000002ef964be', 32, '2026-11-25 13:10:52.470065+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '50f8dd35d0c0ec306d244cdb22133995', '\x00000000f304353ef30435be000000000000000000000000f304353ef304353ef30435be00000000f304b53e00000000f30435bef304353ef304b53e00000000f30435bef30435be00000000f30435bef304b5bef30435bef304b5be00000000f304353ef304353ef304353ef30435be000000000000000000000000f30435be', 32, '2026-11-25 13:10:52.470065+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '9503c8ff735529d71dbc566879727341', '\x00000000eb05513e000000000000000000000000eb0551beeb05d13eeb05513e0000000000000000eb05513eeb0551beeb0551beeb05513eeb05513e0000000000000000eb0551be0000000000000000eb0551beeb0551beeb05d1be00000000eb05513e00000000eb05513eeb05513e0000000000000000eb0551beeb0551be', 32, '2026-11-25 13:10:52.470065+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '969b320aba077679edfd7f90c21b9c88', '\x00000000f304353e00000000000000000000000000000000f304b53ef304353e00000000f30435bef304353ef30435be00000000f304353ef304353e00000000f30435bef30435be00000000f304b5bef30435bef304353eb7c307bf00000000f304353e00000000f304353e0000000000000000f30435be00000000f30435be', 32, '2026-11-25 13:10:52.470065+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '06663a98c0023f31a7f2f90da35fdaa4', '\x549dafbe549d2f3e549dafbe549d2f3e00000000549d2fbe00000000549dafbe549d2f3e00000000549d2f3e00000000000000000000000000000000000000000000000000000000549daf3e00000000000000000000000000000000549d2fbe549d2f3e549d2fbe549daf3e00000000549d2fbe549daf3e549d2fbe00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '0844ca881e8d2b2caef848a4b9680af5', '\x9084413e00000000000000009084c1be000000000000000000000000000000009084c1be9084413e00000000908441be00000000000000009084c13e000000009084413e908441be000000009084413e0000000000000000908441be9084413e9084413e908441be908441be00000000000000009084413e9084c13e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '1793bdbcf0d3115804eb904a1af26d8b', '\x00000000eb05513eeb05513e00000000eb0551be00000000eb05513e00000000eb05513eeb05d13eeb0551be00000000eb05d13e000000000000000000000000eb0551beeb05513e00000000eb05513eeb05513e00000000eb0551beeb0551beeb05513e00000000eb0551be000000000000000000000000eb05513eeb05513e', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '1f2de06dd883b5dd7942ac9246ddf988', '\x9084413e000000009084413e908441be000000009084413e908441be908441be9084413e00000000908441be9084413e000000009084413e9084413e000000000000000000000000908441be9084413e908441be00000000908441be00000000908441be908441be9084413e9084413e0000000000000000000000006c2311bf', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '29f3ca76976e09ada01827ff81d0ce8c', '\x0000000000000000f05b71bef05b713ef05b713e00000000f05bf1bef05b71be00000000f05b71be00000000f05b71be000000000000000000000000f05b71be000000000000000000000000f05b71be000000000000000000000000f05bf13ef05b713e0000000000000000000000000000000000000000f05b713e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '2a3beba04d2c016051c35fed00485602', '\xabd2483e0000000000000000abd248be00000000abd2483eabd248beabd248beabd2483eabd248beabd248beabd2483e00000000abd2483eabd2483e00000000abd248be000000000000000000000000abd248be00000000abd248be00000000abd248beabd248be00000000abd2483e000000000000000000000000009e16bf', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '36b993e2cb791797ea198c6926545e60', '\x00000000abd2483e0000000000000000abd248be00000000abd2483e00000000abd2483eabd2483eabd248be00000000abd2c83e000000000000000000000000abd2c8beabd2483eabd2483e00000000abd2483e00000000abd248beabd248beabd2483e00000000abd2c8be000000000000000000000000abd2483eabd2483e', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '3c045652003534837aafe1421124d281', '\xf304353e00000000f30435bef304353e0000000000000000f304353e00000000f304b5bef30435be00000000000000000000000000000000f304b53ef304353ef30435bef30435bef304353e000000000000000000000000f30435bef304353ef304353ef30435beb7c307bf000000000000000000000000f304353ef30435be', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '40b2c218ae2f49615eca9178b622cea4', '\xb25f9abeb25f1a3e8a8fe7beb25f1a3e00000000b25f1abe00000000b25f9abeb25f1a3eb25f1abeb25f1a3e0000000000000000000000000000000000000000b25f1abe000000008a8fe73eb25f1abe000000000000000000000000b25f1abeb25f1a3eb25f1abeb25f1a3e00000000b25f1abeb25f9a3eb25f1abe00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '539f61251638d74c121c7ae13d28a86d', '\x0000000000000000baf43abe00000000baf43a3ebaf43a3ebaf43abebaf4babe00000000baf43abe000000000000000000000000baf43a3e00000000baf43abebaf43abebaf43a3ebaf43a3ebaf4babe00000000baf43abe00000000baf4ba3ebaf43a3e00000000baf43abe0000000000000000baf43a3ebaf4ba3e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '81991ae5b90f08e8a38b3f19111c06bb', '\x000000000000000000000000000000004a515a3e4a515a3e4a515abe4a51dabe00000000000000000000000000000000000000004a515a3e000000004a515abe000000004a515a3e000000004a515abe000000004a515abe000000004a51da3e4a515a3e000000000000000000000000000000004a515a3e4a51da3e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'a38ca2dd8b2e6f7586c5079d4f95a21d', '\xbaf43a3e00000000baf43a3ebaf4babe0000000000000000baf43abebaf43abebaf4ba3ebaf43abebaf43abebaf43a3ebaf43abebaf43a3ebaf43a3ebaf43a3e00000000baf43abebaf43abebaf43a3ebaf43abebaf43abebaf43abe00000000baf43abebaf43abe00000000baf43a3ebaf43abe0000000000000000baf43abe', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'ba516f45a069a9276b8d0f2e4c0e776a', '\x0000000000000000baf4babebaf43a3ebaf43a3e00000000baf4babebaf43abe00000000baf4babe00000000baf43abe000000000000000000000000baf43abebaf43abe00000000baf43a3ebaf4babe000000000000000000000000baf4ba3ebaf43a3e00000000baf43abe000000000000000000000000baf43a3e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'c9c326c754707f567eb0b591ba1ad413', '\xf304353e0000000000000000f304b5be0000000000000000f30435bef30435bef304b53ef304b5bef30435bef304353ef30435bef304353ef304353ef304353ef30435bef30435be0000000000000000f30435bef30435bef30435be00000000f30435bef30435bef30435bef304353ef30435be0000000000000000f30435be', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'e1338d193f735ec1e6f30c823d40e95d', '\xbaf43a3e00000000baf43abebaf4babe00000000000000000000000000000000baf4babe0000000000000000baf43abe0000000000000000baf4ba3e0000000000000000baf43abebaf43a3e000000000000000000000000baf43abebaf43a3ebaf43a3ebaf43abebaf4babe0000000000000000baf43a3ebaf4ba3e00000000', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'ed27ff4321d8e64cb8585520c6f27efa', '\xeb05513e0000000000000000eb05513e0000000000000000eb05513e00000000eb05d1be0000000000000000000000000000000000000000eb05d13eeb05513e00000000eb0551be00000000eb05513e0000000000000000eb0551beeb05513eeb05513eeb0551beeb05d1be000000000000000000000000eb05513eeb0551be', 32, '2026-11-25 13:11:24.515228+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '0061b4ba86a98d1e87bc6b51c15d8b87', '\x00000000549d2f3e549d2f3e00000000549d2fbe549d2f3e549d2f3e0000000000000000549daf3e549dafbe00000000549daf3e549daf3e00000000000000000000000000000000549d2fbe549d2f3e0000000000000000549d2fbe549d2fbe00000000549d2f3e549daf3e00000000549d2fbe549d2fbe549d2f3e549d2f3e', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '0ea9ba5df74f564a0bfecc7284a79985', '\x0000000000000000abd248beabd2483e00000000abd2483eabd248beabd2c8beabd248beabd248beabd2483eabd248beabd248be00000000abd2483eabd248be000000000000000000000000abd248beabd248beabd248be00000000abd2c83eabd2483eabd2483e00000000abd248be0000000000000000abd2483e00000000', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '12b005b5c5c0fda030dda483745b220e', '\x77d6083e0000000077d6083e77d608be0000000077d6883e77d608be77d608be77d6083e0000000077d688be77d6083e77d608be77d6883e0000000077d6083e0000000077d688be77d608be77d6883e77d688be0000000077d688be0000000077d608be00000000b241cd3e77d6083e77d688be77d608be77d6083e77d6083e', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '130d59afcd359e095b5214538fa292c5', '\x00000000eb05513eeb05513e00000000eb0551beeb05513eeb05513e0000000000000000eb05d13eeb05d1be00000000eb05d13e00000000000000000000000000000000eb05513eeb0551beeb05513e0000000000000000eb0551beeb0551be00000000000000000000000000000000eb0551be00000000eb05513e00000000', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '17e99e7c0a01021cd14a000dca841206', '\xf304b5bef304353ef304b5bef304353e00000000f304b5bef304353ef30435bef304353e00000000f304353e00000000f30435be000000000000000000000000f304353e0000000000000000f304353e0000000000000000000000000000000000000000f30435bef304b53ef304353e00000000f304353ef304b5be00000000', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '3dbc83b56cac14581849b1b821fe0e1d', '\xabd2483eabd2483eabd248beabd2483e000000000000000000000000abd248beabd2c8be0000000000000000abd2483e0000000000000000abd2c83e0000000000000000abd2483e00000000abd2483eabd2483e00000000abd248beabd2483eabd2483eabd248be00000000000000000000000000000000abd2c83eabd248be', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '5755861967cd8145b84c5095c01b8c8b', '\x00000000f05b71be00000000f05b713ef05b71be00000000f05b713e0000000000000000f05bf13ef05b71be00000000f05b713e00000000000000000000000000000000f05b713ef05b713ef05b713e0000000000000000f05b71bef05b71be00000000000000000000000000000000f05b713e00000000f05b713ef05b713e', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '60fd432d7a1dd67e6775672ec34b0c04', '\x549dafbe549d2f3e549dafbe549d2f3e00000000549d2fbe00000000549d2fbe549d2f3e549d2fbe549d2f3e549d2f3e000000000000000000000000000000000000000000000000549d2fbe00000000549dafbe0000000000000000549d2fbe00000000549d2fbeffb5033f0000000000000000549d2f3e549d2fbe00000000', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '8448feca6a7e06d38c9b24a2e5d1d411', '\x000000000000000000000000eb05513e00000000eb05513eeb0551beeb05d1be00000000eb0551beeb0551beeb0551be0000000000000000eb0551beeb0551be000000000000000000000000eb05d1be00000000eb0551be00000000eb05d13eeb05513e0000000000000000000000000000000000000000eb05513eeb0551be', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'c1ec585c7c06ed876f2aed87c30529fb', '\x48598bbe48590b3e48598bbe48590b3e0000000048590bbe0000000048590bbe48590b3e48590bbe48590b3e48590b3e0000000048598b3e00000000000000000000000048590bbe48590bbe0000000048598bbe000000000000000048590bbe00000000000000009a2f2e3f00000000000000000000000048590bbe48590b3e', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'eaa2fc98fe96e7eb667797e9d6a36da9', '\x00000000000000009be821be9be8213e000000009be8213e9be821be9be8a1be9be821be9be821be9be8213e9be821be9be821be9be8a13e9be8213e9be821be000000009be821be000000009be821be9be821be9be821be000000009be8a13e9be8213e9be8a13e9be8a13e9be821be000000009be821be9be8213e9be8213e', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'fe3581a04f554d31755cfcf1cd9a89c4', '\x9be8213e000000009be8213e9be821be000000009be8a13e9be821be9be821be9be8213e000000009be8a1be9be8213e9be821be00000000000000009be8213e000000009be821be9be821be9be8a13e9be8a1be000000009be8a1be000000009be821be9be821be9be8213e9be8213e9be8a1be000000009be8213e00000000', 32, '2026-11-25 13:11:24.958647+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '0d2f0a62a5b0851e43d6573969d4a3e1', '\xabaaaabeabaa2a3eabaaaabeabaa2a3e00000000abaa2abe00000000abaa2abeabaa2a3e00000000abaa2a3e00000000abaaaa3eabaa2a3e00000000000000000000000000000000000000000000000000000000abaa2abe0000000000000000abaa2abeabaaaabe0000003f0000000000000000abaa2a3eabaa2abe00000000', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '1766b27f1d61948a50c16592d6c6cc84', '\xbaf43a3e00000000baf43a3ebaf43abe00000000baf43a3ebaf43abebaf43abebaf43a3e00000000baf43abebaf43a3ebaf43abebaf43a3e00000000baf43a3e0000000000000000baf4babebaf43a3ebaf43abe00000000baf4babe00000000baf43abebaf43abebaf43abe00000000baf4babe0000000000000000baf43abe', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '19bd4dfe533023a109f9710a1d9d0245', '\x000000000000000000000000c3d0103ec3d010bec3d0103ec3d010be2439d9be00000000c3d010be00000000c3d010be00000000c3d0903e00000000c3d090be00000000c3d010bec3d010be0000000000000000c3d090be00000000c3d0903ec3d0103ec3d0103e2439d93e0000000000000000c3d010bec3d0103ec3d0903e', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '1cb7762aac23ce5c68b3f45f4207115c', '\x9084413e000000009084413e908441be908441be9084413e908441be908441be9084413e00000000908441be9084413e9084c1be00000000000000009084413e0000000000000000908441be9084413e908441be00000000908441be9084413e9084c1be000000009084413e9084413e908441be0000000000000000908441be', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '233ec43dd8b0e20e228af0733342f35c', '\x000000009084413e0000000000000000908441be000000009084c13e000000009084413e9084413e908441be908441be9084c13e000000000000000000000000000000009084413e0000000000000000000000009084c13e9084c1be908441be0000000000000000908441be0000000000000000908441be9084413e9084413e', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '2e0a3ca15fba352b013520bf85669e31', '\xabd2483e00000000000000000000000000000000000000000000000000000000abd2c8be00000000abd2483e000000000000000000000000abd2c83e00000000000000000000000000000000000000000000000000000000abd2c8beabd2483eabd2483eabd248beabd248beabd2483eabd248beabd2483eabd2c83eabd248be', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '3efcb36c7b0e8bff482fbd4ee510b385', '\x317586be3175063e317586be3175063e00000000317506be00000000317506be3175063e000000003175063e000000003175863ecaafc93e000000000000000000000000317506be000000000000000000000000317506be0000000000000000317506be317506be7e12283f000000000000000000000000317506be3175063e', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '494bc157a7e54536cbb6acd635320930', '\x000000000000000000000000f304353ef30435bef304353ef30435beb7c307bf00000000f30435be00000000f30435be000000000000000000000000f304b5be0000000000000000f30435be0000000000000000f304b5be00000000f304b53ef304353e00000000f304353e000000000000000000000000f304353ef304353e', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '610b523303e1bccf437acad6797ebe14', '\x9084413e000000000000000000000000000000000000000000000000000000009084c1be000000009084413e00000000000000009084c13e9084c13e0000000000000000908441be000000000000000000000000000000009084c1be9084413e9084413e000000009084413e9084413e908441be000000009084c13e00000000', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', '8cb5a13670623b2ec1c010a6ad7bcd78', '\x549d2f3e00000000000000000000000000000000000000000000000000000000ffb503bf0000000000000000549d2f3e0000000000000000549daf3e00000000000000000000000000000000549d2f3e00000000549d2fbe549d2fbe549d2f3e549d2f3e549dafbe549d2fbe549d2f3e0000000000000000549daf3e549dafbe', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'af44d6f1d6ea005101eb2f4b79f49c16', '\x549dafbe549d2f3e549dafbe549daf3e549d2fbe549d2fbe00000000549d2fbe549d2f3e00000000549d2f3e549d2f3e00000000549d2f3e00000000000000000000000000000000549d2fbe00000000000000000000000000000000549d2fbe00000000549d2fbe549daf3e00000000549dafbe549d2f3e549d2fbe549d2f3e', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.embedding_cache VALUES ('hashing-32-v1', 'e6cbf8fa73505c3728a609e9cabba60d', '\xb3011e3e00000000b3011e3eb3011ebeb3011ebeb3011e3eb3011ebeb3011ebeb3011e3e00000000b3011ebeb3011e3eb3019ebeb3019e3e00000000b3011e3e00000000b3011ebeb3011ebeb3011e3eb3011ebe00000000b3011ebeb3011e3eb3019ebeb3011e3e8c02ed3eb3011e3eb3011ebeb3011ebe0000000000000000', 32, '2026-11-25 13:11:25.300227+00');
INSERT INTO sync_pipeline.generation VALUES ('documents_0df614d92d07', 'documents', 'hashing-32-v1', 32, '["text", "title"]', 'bm25-v1-mixed-k1.2-b0.75-avg10', 'model hashing-32-v1 (32 dimensions), views text, title, bm25-v1-mixed-k1.2-b0.75-avg10, text rendering 1', true, '2026-11-25 13:10:51.122588+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-work-3', '5510acf5-e180-537d-a7a2-f3b32fa4668d', 'global', 'global', NULL, 'work', '3', '{"text": "defbc73e6009058411a11b4248b534b9"}', 'd2a90b08d3120c465e0b0e0c81e33923', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:51.541406+00', '2026-11-25 13:10:51.541406+00', 'hashing-32-v1', '2026-11-25 13:10:50.588038+00', NULL, '2026-11-25 13:10:51.541406+00', '2026-11-25 13:10:51.541406+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-work-6', 'fc09f568-04d2-5895-b6e9-cc1aa8115755', 'global', 'global', NULL, 'work', '6', '{"text": "680f6b16da039cc13589cc89b0d7c0b5"}', '7e60049fa2fc9380047eadf3f9595471', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:51.541406+00', '2026-11-25 13:10:51.541406+00', 'hashing-32-v1', '2026-11-25 13:10:50.588038+00', NULL, '2026-11-25 13:10:51.541406+00', '2026-11-25 13:10:51.541406+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-work-1', '693b05a2-4c74-5b62-a782-6a79395bd3ff', 'tenant', 'acme', 'acme', 'work', '1', '{"text": "12e39451195f17bb9606c01d8a2ea608"}', '8f60a66676e965add2d7e5878cdddf8b', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00', 'hashing-32-v1', '2026-11-25 13:10:52.147836+00', NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-work-2', '1a10cef9-3c2c-5bf3-804a-e1955e440234', 'tenant', 'acme', 'acme', 'work', '2', '{"text": "9503c8ff735529d71dbc566879727341"}', '2ace688137952aae86ce0e617ac80151', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00', 'hashing-32-v1', '2026-11-25 13:10:52.147836+00', NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-work-4', '0449e960-9f18-594a-aaf1-38898edfca60', 'tenant', 'acme', 'acme', 'work', '4', '{"text": "50f8dd35d0c0ec306d244cdb22133995"}', 'c6eb9431f4735152ec1acb5a3f942194', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00', 'hashing-32-v1', '2026-11-25 13:10:52.147836+00', NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-work-5', 'cddf92ef-717a-558e-bce6-e05bccaa8f88', 'tenant', 'acme', 'acme', 'work', '5', '{"text": "969b320aba077679edfd7f90c21b9c88"}', 'e7098ec83645d0f399a9e5035d2b8274', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00', 'hashing-32-v1', '2026-11-25 13:10:52.147836+00', NULL, '2026-11-25 13:10:52.62203+00', '2026-11-25 13:10:52.62203+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-05ea0654-df27-241b-8d24-4a19258f8adc', 'df4a3bca-a9cd-50da-9b37-61778a9def6a', 'global', 'global', NULL, 'material', '05ea0654-df27-241b-8d24-4a19258f8adc', '{"text": "e1338d193f735ec1e6f30c823d40e95d", "title": "0844ca881e8d2b2caef848a4b9680af5"}', 'b7b0d35ff3976e8ddb7b49e8123ed52d', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-36604411-a85d-b2bd-9e97-e22bfb5b692d', 'd629905f-7c57-5d7b-9a65-b8774dd8152c', 'global', 'global', NULL, 'material', '36604411-a85d-b2bd-9e97-e22bfb5b692d', '{"text": "c9c326c754707f567eb0b591ba1ad413", "title": "a38ca2dd8b2e6f7586c5079d4f95a21d"}', '769bb122844fd7f6b618ef66281d9426', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-408579fb-7db2-4b91-1748-3db59cddd769', 'c68bca58-883e-5aeb-a4bc-23ace87304c6', 'global', 'global', NULL, 'material', '408579fb-7db2-4b91-1748-3db59cddd769', '{"text": "36b993e2cb791797ea198c6926545e60", "title": "1793bdbcf0d3115804eb904a1af26d8b"}', 'ab6937dbfc4ab388646e6d001a838522', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-5bbb291c-c1e3-8a05-1365-ee9edb7cbd14', '6e537277-6a65-51ba-8c89-b4f4ad8ac58d', 'global', 'global', NULL, 'material', '5bbb291c-c1e3-8a05-1365-ee9edb7cbd14', '{"text": "539f61251638d74c121c7ae13d28a86d", "title": "81991ae5b90f08e8a38b3f19111c06bb"}', '9544f338f844f3b41cdf125abacf6962', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-9678f7a7-939f-457f-a0d9-353761e189c7', 'ef1a1699-c79b-5d1f-a48e-73f0182ef903', 'global', 'global', NULL, 'material', '9678f7a7-939f-457f-a0d9-353761e189c7', '{"text": "3c045652003534837aafe1421124d281", "title": "ed27ff4321d8e64cb8585520c6f27efa"}', '29ea6c55bbded3f718ecd32dd4bd0d31', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-abeccf9a-e147-d854-3653-4371f961c95b', '8e5772d5-91a3-5ae1-a8b3-f9596d159810', 'global', 'global', NULL, 'material', 'abeccf9a-e147-d854-3653-4371f961c95b', '{"text": "40b2c218ae2f49615eca9178b622cea4", "title": "06663a98c0023f31a7f2f90da35fdaa4"}', '11ae4e3f76394bcf91a9734552be869d', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-af533170-e996-8b9d-e45a-b0842b54a315', '28e0ffc8-a448-5420-a3e8-26bd9bd33330', 'global', 'global', NULL, 'material', 'af533170-e996-8b9d-e45a-b0842b54a315', '{"text": "2a3beba04d2c016051c35fed00485602", "title": "1f2de06dd883b5dd7942ac9246ddf988"}', 'ad49fd327c68c20ef0d77aa13cbd9344', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'global-material-dfcd69dd-8400-97f1-2b65-d678f4091b8b', 'fb9e8c0f-dc17-5360-8d3c-9528c6da11a7', 'global', 'global', NULL, 'material', 'dfcd69dd-8400-97f1-2b65-d678f4091b8b', '{"text": "ba516f45a069a9276b8d0f2e4c0e776a", "title": "29f3ca76976e09ada01827ff81d0ce8c"}', '2d376dd8b299673882219987ea386fff', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00', 'hashing-32-v1', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.587253+00', '2026-11-25 13:11:24.587253+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-29ff1cd5-62db-e3e0-bac6-ef5eab2d3945', '3df86cf6-fba2-5dad-ae55-5e52b2159798', 'tenant', 'acme', 'acme', 'material', '29ff1cd5-62db-e3e0-bac6-ef5eab2d3945', '{"text": "8448feca6a7e06d38c9b24a2e5d1d411", "title": "8448feca6a7e06d38c9b24a2e5d1d411"}', '202450de5f2b31621252bf4dbb5850e8', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-91c0b537-fb0d-7a73-160b-cedcfcf305fe', 'f81ad7cb-8be6-5d4f-b307-95bba5c57ede', 'tenant', 'acme', 'acme', 'material', '91c0b537-fb0d-7a73-160b-cedcfcf305fe', '{"text": "5755861967cd8145b84c5095c01b8c8b", "title": "5755861967cd8145b84c5095c01b8c8b"}', '838d4b2add76dbcc633033a9d83a25c4', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-980b79c2-a71b-9bcc-117e-08a990b5b332', 'd84f0b1d-86ec-5134-8b96-20b00ec2f716', 'tenant', 'acme', 'acme', 'material', '980b79c2-a71b-9bcc-117e-08a990b5b332', '{"text": "3dbc83b56cac14581849b1b821fe0e1d", "title": "3dbc83b56cac14581849b1b821fe0e1d"}', '8194c781a9c771b53d5fbc78e15c79f2', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-aa15b924-3a9f-99d1-22d5-803606e3c4df', 'a23a9263-94f6-5517-9889-21f2cf701cc9', 'tenant', 'acme', 'acme', 'material', 'aa15b924-3a9f-99d1-22d5-803606e3c4df', '{"text": "c1ec585c7c06ed876f2aed87c30529fb", "title": "60fd432d7a1dd67e6775672ec34b0c04"}', '0e7f0722bd4c74ab25ae35096901507f', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-aaf2f899-9237-9705-dac8-44c0a2a1d45f', 'da61343f-8104-5c01-8434-f36a2670e27d', 'tenant', 'acme', 'acme', 'material', 'aaf2f899-9237-9705-dac8-44c0a2a1d45f', '{"text": "17e99e7c0a01021cd14a000dca841206", "title": "17e99e7c0a01021cd14a000dca841206"}', '276847db99eb6cae47feb7780c74f616', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-ae562ec7-7081-8f5e-26a8-840cd0699a16', 'd1de11cc-0393-5293-b185-22b3c1e012df', 'tenant', 'acme', 'acme', 'material', 'ae562ec7-7081-8f5e-26a8-840cd0699a16', '{"text": "12b005b5c5c0fda030dda483745b220e", "title": "fe3581a04f554d31755cfcf1cd9a89c4"}', 'a892c5b30ed2c8a059558581665a7bb5', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-e66050aa-5d0a-7e0e-cb49-429ea4b0a32b', '9886c9ca-54bf-5cc6-bb56-2c47c7086d74', 'tenant', 'acme', 'acme', 'material', 'e66050aa-5d0a-7e0e-cb49-429ea4b0a32b', '{"text": "0061b4ba86a98d1e87bc6b51c15d8b87", "title": "130d59afcd359e095b5214538fa292c5"}', '8dd6a662245e2a750b71d77b0d862f35', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-fd6b6fc9-220b-72d2-1683-ae8e4f50a210', '0913b0d7-7caa-546f-8081-c87b783e577e', 'tenant', 'acme', 'acme', 'material', 'fd6b6fc9-220b-72d2-1683-ae8e4f50a210', '{"text": "eaa2fc98fe96e7eb667797e9d6a36da9", "title": "0ea9ba5df74f564a0bfecc7284a79985"}', '3e82bf095ce54b8792919351f5161917', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00', 'hashing-32-v1', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.013883+00', '2026-11-25 13:11:25.013883+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-01eea3d0-8de1-40d1-0f20-8f90a16b712c', '22c836a3-0fb4-580b-8a37-bbd9c54caf64', 'tenant', 'globex', 'globex', 'material', '01eea3d0-8de1-40d1-0f20-8f90a16b712c', '{"text": "610b523303e1bccf437acad6797ebe14", "title": "2e0a3ca15fba352b013520bf85669e31"}', 'da97fede055fe31621fdfdd9c55d0f4f', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-0449904f-bf32-607b-f8ce-5c26823dbc29', '9638593c-e274-5d4c-8cd0-2da137034d69', 'tenant', 'globex', 'globex', 'material', '0449904f-bf32-607b-f8ce-5c26823dbc29', '{"text": "3efcb36c7b0e8bff482fbd4ee510b385", "title": "0d2f0a62a5b0851e43d6573969d4a3e1"}', '7d61ee104b9d5934c0fcbb15516f69dd', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-7b1f6dff-14d8-c2df-eb7d-a9487be0612d', '8d203d41-384d-52e6-ae2c-fac05dda9cdb', 'tenant', 'globex', 'globex', 'material', '7b1f6dff-14d8-c2df-eb7d-a9487be0612d', '{"text": "233ec43dd8b0e20e228af0733342f35c", "title": "233ec43dd8b0e20e228af0733342f35c"}', '656958045f1185871b69bf6eaf71909a', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-ae7be26c-daa7-42ca-1480-68d5ac90eaca', '8e1e2471-b9d4-5e88-8e16-7a627d96982d', 'tenant', 'globex', 'globex', 'material', 'ae7be26c-daa7-42ca-1480-68d5ac90eaca', '{"text": "e6cbf8fa73505c3728a609e9cabba60d", "title": "1cb7762aac23ce5c68b3f45f4207115c"}', '4981bc57a535afac683372cd99739eeb', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-bc0ac5c4-5aa0-6caf-01aa-7c9b27f1191f', 'be39c573-5f1c-5347-af5c-dbd4afd7603c', 'tenant', 'globex', 'globex', 'material', 'bc0ac5c4-5aa0-6caf-01aa-7c9b27f1191f', '{"text": "8cb5a13670623b2ec1c010a6ad7bcd78", "title": "8cb5a13670623b2ec1c010a6ad7bcd78"}', '09c9e2c379fae0a9ba3074f0d450ed33', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-c4534fe0-ca25-6b33-1e9a-3f14fe17229d', '72c70a1e-9328-52b8-8f34-9b1c025660d0', 'tenant', 'globex', 'globex', 'material', 'c4534fe0-ca25-6b33-1e9a-3f14fe17229d', '{"text": "1766b27f1d61948a50c16592d6c6cc84", "title": "1766b27f1d61948a50c16592d6c6cc84"}', 'a9406934662013186478215d0f57729b', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-d92ad8f4-c2a4-686c-320f-29aef4c89d82', 'd018f147-a939-5c4b-8ecb-2887bddf84d9', 'tenant', 'globex', 'globex', 'material', 'd92ad8f4-c2a4-686c-320f-29aef4c89d82', '{"text": "19bd4dfe533023a109f9710a1d9d0245", "title": "494bc157a7e54536cbb6acd635320930"}', '46761e38ef74a2798ca7480e5de9f361', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.index_state VALUES ('documents_0df614d92d07', 'tenant-material-e12e0ff7-6126-c187-8326-5a7d588b719a', '219c3396-9af9-5544-bf5c-05a0f8b45009', 'tenant', 'globex', 'globex', 'material', 'e12e0ff7-6126-c187-8326-5a7d588b719a', '{"text": "af44d6f1d6ea005101eb2f4b79f49c16", "title": "af44d6f1d6ea005101eb2f4b79f49c16"}', '80f1df17efb2808ddb72f17a5d1203d3', 'synced', NULL, NULL, NULL, 0, NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00', 'hashing-32-v1', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.373767+00', '2026-11-25 13:11:25.373767+00');
INSERT INTO sync_pipeline.quarantine VALUES ('global', 'work', '8', 'no_owner', 'neither global nor owned by a tenant', 1, '2026-11-25 13:10:50.670346+00', '2026-11-25 13:10:50.670346+00');
INSERT INTO sync_pipeline.quarantine VALUES ('acme', 'work', '7', 'empty_text', 'nothing to embed in name', 1, '2026-11-25 13:10:52.293757+00', '2026-11-25 13:10:52.293757+00');
INSERT INTO sync_pipeline.scope_lease VALUES ('global', '56b12e90-cab2-4676-828d-8cd59fc2497d', 2, '2026-11-25 13:11:24.663905+00');
INSERT INTO sync_pipeline.scope_lease VALUES ('acme', 'b44e1878-1bc5-44ad-9419-aac121886022', 2, '2026-11-25 13:11:25.074509+00');
INSERT INTO sync_pipeline.scope_lease VALUES ('globex', '40f92a87-6ef3-4f59-a9c1-6106f92cedeb', 1, '2026-11-25 13:11:25.441462+00');
INSERT INTO sync_pipeline.scope_state VALUES ('documents_0df614d92d07', 'global', 11, 10, 1, 0, '8a5c7a478d86b5028aa3bd78aa3dbb1f', NULL, '2026-11-25 13:11:24.327379+00', '2026-11-25 13:11:24.651575+00', '2026-11-25 13:11:24.327379+00', NULL, '2026-11-25 13:11:24.651575+00');
INSERT INTO sync_pipeline.scope_state VALUES ('documents_0df614d92d07', 'acme', 13, 12, 1, 0, '08413b5b4fe56f0408ffd96e15fa0b50', NULL, '2026-11-25 13:11:24.855218+00', '2026-11-25 13:11:25.067285+00', '2026-11-25 13:11:24.855218+00', NULL, '2026-11-25 13:11:25.067285+00');
INSERT INTO sync_pipeline.scope_state VALUES ('documents_0df614d92d07', 'globex', 8, 8, 0, 0, 'e16245971ee3a43cfd90d507ecaa13ab', NULL, '2026-11-25 13:11:25.208381+00', '2026-11-25 13:11:25.432654+00', '2026-11-25 13:11:25.208381+00', NULL, '2026-11-25 13:11:25.432654+00');
SELECT pg_catalog.setval('sync_pipeline.change_event_id_seq', 24, true);
ALTER TABLE ONLY public.materials
    ADD CONSTRAINT materials_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.works
    ADD CONSTRAINT works_pkey PRIMARY KEY (id);
ALTER TABLE ONLY sync_pipeline.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY sync_pipeline.change_event
    ADD CONSTRAINT change_event_pkey PRIMARY KEY (id);
ALTER TABLE ONLY sync_pipeline.embedding_cache
    ADD CONSTRAINT embedding_cache_pkey PRIMARY KEY (model_id, text_hash);
ALTER TABLE ONLY sync_pipeline.embedding_rate
    ADD CONSTRAINT embedding_rate_pkey PRIMARY KEY (model_id);
ALTER TABLE ONLY sync_pipeline.generation
    ADD CONSTRAINT generation_pkey PRIMARY KEY (collection);
ALTER TABLE ONLY sync_pipeline.index_state
    ADD CONSTRAINT index_state_pkey PRIMARY KEY (collection, document_id);
ALTER TABLE ONLY sync_pipeline.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (scope_key, entity_type, db_id);
ALTER TABLE ONLY sync_pipeline.scope_lease
    ADD CONSTRAINT scope_lease_pkey PRIMARY KEY (scope_key);
ALTER TABLE ONLY sync_pipeline.scope_state
    ADD CONSTRAINT scope_state_pkey PRIMARY KEY (collection, scope_key);
CREATE INDEX change_event_everywhere ON sync_pipeline.change_event USING btree (entity_type) WHERE ((old_scope_key IS NULL) AND (new_scope_key IS NULL));
CREATE INDEX change_event_new_scope ON sync_pipeline.change_event USING btree (new_scope_key) WHERE (new_scope_key IS NOT NULL);
CREATE INDEX change_event_old_scope ON sync_pipeline.change_event USING btree (old_scope_key) WHERE (old_scope_key IS DISTINCT FROM new_scope_key);
CREATE INDEX index_state_by_entity ON sync_pipeline.index_state USING btree (collection, entity_type);
CREATE INDEX index_state_by_scope ON sync_pipeline.index_state USING btree (collection, scope_key, point_id);
CREATE INDEX index_state_departed ON sync_pipeline.index_state USING btree (collection, previous_scope_key) WHERE (previous_scope_key IS NOT NULL);
CREATE INDEX index_state_next_retry ON sync_pipeline.index_state USING btree (next_retry_at) WHERE (next_retry_at IS NOT NULL);
CREATE INDEX index_state_unsynced ON sync_pipeline.index_state USING btree (collection, status) WHERE (status <> 'synced'::text);
CREATE TRIGGER sync_pipeline_material_delete AFTER DELETE ON public.materials REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_material();
CREATE TRIGGER sync_pipeline_material_insert AFTER INSERT ON public.materials REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_material();
CREATE TRIGGER sync_pipeline_material_truncate AFTER TRUNCATE ON public.materials FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_material();
CREATE TRIGGER sync_pipeline_material_update AFTER UPDATE ON public.materials REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_material();
CREATE TRIGGER sync_pipeline_work_delete AFTER DELETE ON public.works REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_work();
CREATE TRIGGER sync_pipeline_work_insert AFTER INSERT ON public.works REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_work();
CREATE TRIGGER sync_pipeline_work_truncate AFTER TRUNCATE ON public.works FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_work();
CREATE TRIGGER sync_pipeline_work_update AFTER UPDATE ON public.works REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sync_pipeline.feed_work();
REVOKE ALL ON FUNCTION sync_pipeline.feed_material() FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_pipeline.feed_work() FROM PUBLIC;
