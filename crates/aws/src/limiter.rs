//! Token buckets in the table, leased in tens.
