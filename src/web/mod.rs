//! The pages and the operations port: reads decisions, decides nothing.
