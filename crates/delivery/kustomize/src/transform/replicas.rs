//! `replicas`: counts for workloads by name.

use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk};
use crate::read::Replica;
use crate::resources::Resources;
use crate::scalars::set_text;

pub(super) fn set(replica: &Replica, fields: &[FieldSpec], resources: &mut Resources) -> Result<(), Trouble> {
    let mut found_any = false;
    for spec in fields {
        let named = |id: &crate::id::Id| id.name == replica.name && id.gvk.is_selected_by(&spec.gvk);
        for index in resources.with_any_id(&replica.name, named) {
            found_any = true;
            let resource = &mut resources.list[index];
            let mark = resource.mark();
            let count = replica.count.to_string();
            let set = walk(&mut resource.node, spec, Make::Scalar, &mut |node| {
                if node.as_text().is_none() {
                    return Err(Trouble::new(node.mark, format!("expected a number, found {}", node.describe())));
                }
                set_text(node, &count);
                Ok(())
            });
            set.map_err(|trouble| trouble.or_at(mark))?;
        }
    }
    if found_any {
        return Ok(());
    }
    Err(Trouble::new(replica.mark, format!("replicas: there is no workload called {:?}", replica.name)))
}
