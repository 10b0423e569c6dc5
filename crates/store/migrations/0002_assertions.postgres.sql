-- Statements of the commit path assert what they depend on, because their COMMIT is sent with them (docs/commit-path.md).
-- A statement whose assertion does not hold calls assertion_failed, which ends the transaction with an SQLSTATE of ours and
-- a message that names the row:
--   TN001  an API key in whose name something is written was revoked by another transaction. The batch runs again.
--   TN002  a write did not meet a row that the batch has read and locked. Only a defect, or a change by hand, does that.
-- Neither function is called while every assertion holds.
CREATE FUNCTION assertion_failed(code text, message text) RETURNS integer
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
END $$;

-- The first of these keys that is not among those found; all keys, if every one is.
CREATE FUNCTION first_missing(keys text[], keys_found text[]) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    FOR at IN 1 .. coalesce(cardinality(keys), 0) LOOP
        IF array_position(keys_found, keys[at]) IS NULL THEN
            RETURN keys[at];
        END IF;
    END LOOP;
    RETURN array_to_string(keys, ', ');
END $$;

-- Every statement that could call them needs the right, also where functions are not given to everybody by default.
GRANT EXECUTE ON FUNCTION assertion_failed, first_missing TO PUBLIC;
