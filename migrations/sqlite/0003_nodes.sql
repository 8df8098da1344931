-- What is true of the database as a whole, such as a digest of the key that seals the private keys in it.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- One row: it moves on with each change of a key, so that a process sees that another one made it.
CREATE TABLE key_generation (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
) STRICT;

INSERT INTO key_generation (one, generation) VALUES (1, 0);

CREATE TRIGGER signing_key_made AFTER INSERT ON signing_key
BEGIN UPDATE key_generation SET generation = generation + 1; END;

CREATE TRIGGER signing_key_entered AFTER UPDATE OF state ON signing_key
BEGIN UPDATE key_generation SET generation = generation + 1; END;

CREATE TRIGGER signing_key_removed AFTER DELETE ON signing_key
BEGIN UPDATE key_generation SET generation = generation + 1; END;
