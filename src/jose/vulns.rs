//! Known attacks on signed tokens, what we do about each, and the test that holds it.
