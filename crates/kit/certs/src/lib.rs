//! Certificate authorities, leaf certificates, live reload.
