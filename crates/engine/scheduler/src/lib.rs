//! Binds pods to the node while what they request fits.
