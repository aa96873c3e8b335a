//! Lists of resources as the node reads them.

use std::collections::BTreeMap;

use coracle_quantity::Quantity as Exact;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a list of resources holds.
pub type ResourceList = BTreeMap<String, Quantity>;

/// A quantity in thousandths, rounded up; nothing where it is negative or cannot be read.
pub fn milli(quantity: &Quantity) -> Option<u64> {
    Exact::parse(quantity.0.trim()).ok().and_then(|exact| exact.millis().try_into().ok())
}

/// A quantity in whole units, likewise.
pub fn whole(quantity: &Quantity) -> Option<u64> {
    Exact::parse(quantity.0.trim()).ok().and_then(|exact| exact.units().try_into().ok())
}

/// Thousandths of the named resource.
pub fn milli_of(list: Option<&ResourceList>, name: &str) -> Option<u64> {
    list?.get(name).and_then(milli)
}

/// Whole units of the named resource.
pub fn whole_of(list: Option<&ResourceList>, name: &str) -> Option<u64> {
    list?.get(name).and_then(whole)
}
