//! The access log: a line of JSON for each request, with the field names of the Elastic Common Schema.
