"""What the SQL backends share: tables derived from collections, statements from queries."""
