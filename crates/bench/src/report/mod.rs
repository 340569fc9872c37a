//! Report: a run as people and programs read it.
//!
//! The page is made here as a whole, its drawings included: it needs no script, no network and no server, and what names of
//! models and browsers hold is escaped by the templates.

mod chart;
mod csv;
mod draw;
mod html;
mod json;
mod tables;
mod words;

pub use self::{csv::csv, html::html, json::json};

#[cfg(test)]
mod tests;
