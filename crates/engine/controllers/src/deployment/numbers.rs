//! How many: the arithmetic of surge, unavailability and proportional scaling.

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Available pods that can be counted on: a set that was just made smaller has lost the difference already, whatever its
/// status still says.
pub(super) fn lasting(set: &ReplicaSet) -> i32 {
    available(set).min(size(set))
}

pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// A number, or a percentage of `total`, rounded up or down.
pub(crate) fn resolve(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let percent_of = |percent: i64| {
        let hundredths = percent * i64::from(total);
        (if round_up { (hundredths + 99).div_euclid(100) } else { hundredths.div_euclid(100) }) as i32
    };
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            text.strip_suffix('%').and_then(|text| text.parse().ok()).map_or(0, percent_of)
        }
        None => percent_of(25),
    }
}

/// How many pods more than desired, and how many fewer than desired available, a rolling update may come to. Surge is
/// rounded up and unavailability down; where both are nothing the update could not move, so one may be unavailable.
pub(super) fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let rolling =
        deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref()).and_then(|s| s.rolling_update.as_ref());
    let desired = desired(deployment);
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), desired, true);
    let unavailable = resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), desired, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || desired(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(desired(deployment))
}

/// The size the new set is to have now, given the sizes of all.
pub(super) fn new_set_size(deployment: &Deployment, all_sizes: i32, new_size: i32) -> i32 {
    if !is_rolling(deployment) {
        return desired(deployment);
    }
    let room = desired(deployment) + max_surge(deployment) - all_sizes;
    if room <= 0 {
        return new_size;
    }
    new_size + room.min(desired(deployment) - new_size)
}

fn annotation(set: &ReplicaSet, name: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

/// Whether the set was last sized for another number of desired replicas.
pub(super) fn was_sized_for_other(deployment: &Deployment, set: &ReplicaSet) -> bool {
    annotation(set, DESIRED).is_some_and(|sized_for| sized_for != desired(deployment))
}

/// Whether the set alone does all that is desired.
pub(super) fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let desired = desired(deployment);
    size(set) == desired && annotation(set, DESIRED) == Some(desired) && available(set) == desired
}

/// By how much a set's size changes when the deployment is scaled, for its share to stay the same.
fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if desired(deployment) == 0 {
        return -size(set);
    }
    let now_at_most = desired(deployment) + max_surge(deployment);
    let status_replicas = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before_at_most = annotation(set, MAX).filter(|max| *max != 0).unwrap_or(status_replicas);
    if before_at_most == 0 {
        return 0;
    }
    let share = f64::from(size(set)) * f64::from(now_at_most) / f64::from(before_at_most);
    share.round() as i32 - size(set)
}

/// The new sizes of active sets, largest first, when the deployment is scaled in the middle of an update.
pub(super) fn proportional(deployment: &Deployment, sets: &[&ReplicaSet]) -> Vec<i32> {
    let total: i32 = sets.iter().map(|set| size(set)).sum();
    let allowed = if desired(deployment) > 0 { desired(deployment) + max_surge(deployment) } else { 0 };
    let to_add = allowed - total;
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(sets.len());
    for set in sets {
        let left = to_add - added;
        let share = match to_add {
            _ if size(set) == 0 || left == 0 => 0,
            1.. => fraction(deployment, set).min(left),
            _ => fraction(deployment, set).max(left),
        };
        added += share;
        sizes.push(size(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}
