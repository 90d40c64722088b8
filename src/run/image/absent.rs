//! What stands for the report about a step's image in a build that looks up no image.

use crate::lookup::{Failure, Found};
use crate::report::image_files::ImageFiles;
use crate::spec::StepSpec;

/// Nothing is left.
pub(super) fn files(_: &StepSpec, _: &Result<Found, Failure>) -> Option<ImageFiles> {
    None
}
