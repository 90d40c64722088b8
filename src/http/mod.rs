//! One factory for every HTTP client: roots, names, proxies, timeouts, redirects, size limits.
