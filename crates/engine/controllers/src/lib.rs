//! One module a controller: each an ordinary API client.
