//! The JSON Schemas of profiles and suites, made from the raw types; committed under `schema/` for editors.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{raw::RawProfile, raw_suite::RawSuite};

/// Schema of a profile.
pub fn profile() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawProfile>().to_value()
}

/// Schema of a suite.
pub fn suite() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawSuite>().to_value()
}
