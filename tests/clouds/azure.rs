//! Azure's identities: works, hung, refused, rejected by the registry.

#[path = "azure/emulator.rs"]
mod emulator;
#[path = "azure/works.rs"]
mod works;

const PURPOSE: &str = "the tests of Azure's identities";
