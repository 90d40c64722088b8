//! Amazon's identities: works, hung, refused, rejected by the registry.
