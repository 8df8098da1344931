//! Who has refresh tokens at an authorization server, and their end.
