//! The durable, watchable, versioned object log.
