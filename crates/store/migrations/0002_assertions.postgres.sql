-- Statements of the commit path assert what they depend on, because their COMMIT is sent with them (docs/commit-path.md).
-- A statement whose assertion does not hold calls assertion_failed, which ends the transaction with an SQLSTATE of ours and
-- a message that names the row:
--   TN001  a row is not as the batch expects it: another transaction has changed it. The batch is read and runs again.
--   TN002  a row that the batch has read and locked was not met by its write. Only a defect does that.
--   TN003  the session of the previous connection has not ended in time. The program connects again.
-- Neither function is called while every assertion holds.
CREATE FUNCTION assertion_failed(code text, message text) RETURNS integer
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
END $$;

-- The first of these keys whose row was not found, or was found with other numbers. Numbers are lists in the order of the
-- keys, one list for each column: numbers[column][row]. If no row differs, all keys are returned.
CREATE FUNCTION first_difference(keys text[], keys_found text[], numbers bigint[], numbers_found bigint[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
BEGIN
    FOR at IN 1 .. coalesce(cardinality(keys), 0) LOOP
        place := array_position(keys_found, keys[at]);
        IF place IS NULL THEN
            RETURN keys[at];
        END IF;
        FOR of_column IN 1 .. coalesce(array_length(numbers, 1), 0) LOOP
            IF numbers[of_column][at] IS DISTINCT FROM numbers_found[of_column][place] THEN
                RETURN keys[at];
            END IF;
        END LOOP;
    END LOOP;
    RETURN array_to_string(keys, ', ');
END $$;

-- Every statement that could call them needs the right, also where functions are not given to everybody by default.
GRANT EXECUTE ON FUNCTION assertion_failed, first_difference TO PUBLIC;
