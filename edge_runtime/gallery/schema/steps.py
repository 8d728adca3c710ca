"""The tables of a gallery, as the statements from each schema version to the next."""

from __future__ import annotations

PICTURE_INDEX = "CREATE UNIQUE INDEX item_picture ON item (label_id, digest)"
"""A label stores each digest once."""

STEPS: tuple[tuple[str, ...], ...] = (
    (  # to schema 1
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE label (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # AUTOINCREMENT never reuses an id: an id in an old log still means the same code.
        """CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        label_id INTEGER NOT NULL REFERENCES label (id),
        code BLOB NOT NULL,
        source TEXT NOT NULL,
        digest BLOB,
        created_at TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (label_id, digest)
    )""",
        # Every committed change has a number and a random stamp. A snapshot compares both to find
        # out whether it belongs to this history: that of a restored backup is a different one.
        "CREATE TABLE generation (number INTEGER PRIMARY KEY, stamp BLOB NOT NULL)",
        # The codes that were removed or got another label, so that readers reload only these.
        "CREATE TABLE change (generation INTEGER NOT NULL, item_id INTEGER NOT NULL)",
        "CREATE INDEX change_generation ON change (generation)",
    ),
    (  # to schema 2: data that only some labels and codes have
        """CREATE TABLE thumbnail (
        label_id INTEGER PRIMARY KEY REFERENCES label (id) ON DELETE CASCADE,
        jpeg BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        """CREATE TABLE position (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        latitude REAL NOT NULL,
        longitude REAL NOT NULL,
        heading REAL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 3: an index apart from its table, so that it can be dropped for bulk inserts
        "CREATE TEMP TABLE kept_item AS SELECT * FROM item",
        "CREATE TEMP TABLE kept_id AS SELECT seq FROM sqlite_sequence WHERE name = 'item'",
        "DROP TABLE item",
        """CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        label_id INTEGER NOT NULL REFERENCES label (id),
        code BLOB NOT NULL,
        source TEXT NOT NULL,
        digest BLOB,
        created_at TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        "INSERT INTO item SELECT * FROM kept_item ORDER BY id",
        "DELETE FROM sqlite_sequence WHERE name = 'item'",
        "INSERT INTO sqlite_sequence SELECT 'item', seq FROM kept_id",
        "DROP TABLE kept_item",
        "DROP TABLE kept_id",
        PICTURE_INDEX,
    ),
    (  # to schema 4: what a code fitted to the gallery is made from
        # The features of a code, int8.
        """CREATE TABLE feature (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        value BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # The picture as the network saw it, kept on the row of the whole picture.
        """CREATE TABLE picture (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        jpeg BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        """CREATE TABLE layer (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        bits INTEGER NOT NULL,
        weights BLOB NOT NULL,
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 5: similarities fitted to the gallery
        """CREATE TABLE metric (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        features INTEGER NOT NULL,
        directions INTEGER NOT NULL,
        folds INTEGER NOT NULL,
        weights BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # How similar strangers and known things are, in one generation: no query measures it.
        """CREATE TABLE calibration (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        generation INTEGER NOT NULL,
        stamp BLOB NOT NULL,
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # The outcome of the last refit, whether or not something was kept.
        """CREATE TABLE refit (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 6: the fleet that this gallery follows
        # Codes that a signed version named. A picture whose codes are not here is a proposal.
        """CREATE TABLE shared (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE
    )""",
        # Labels whose payload and thumbnail are those of a signed version.
        """CREATE TABLE shared_label (
        label_id INTEGER PRIMARY KEY REFERENCES label (id) ON DELETE CASCADE
    )""",
        # The version that was applied last.
        """CREATE TABLE fleet (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        version INTEGER NOT NULL,
        content TEXT NOT NULL,
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 7: sounds that belong to labels
        """CREATE TABLE sound (
        id INTEGER PRIMARY KEY,
        label_id INTEGER NOT NULL REFERENCES label (id) ON DELETE CASCADE,
        digest BLOB NOT NULL,
        source TEXT NOT NULL,
        value BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        "CREATE UNIQUE INDEX sound_of_label ON sound (label_id, digest)",
    ),
)
"""The statements from each schema to the next. A new gallery runs all of them, an older one the
remaining steps. A released step is never edited."""
