//! Pod network, service load balancing, cluster DNS.
