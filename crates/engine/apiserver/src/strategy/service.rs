//! Services: virtual addresses and node ports, taken when a service asks for them and given back when it goes.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Hold, Reservation, Strategy};
use crate::{
    object,
    server::Inner,
    status::{Cause, Failure},
};

/// An address range by its first address and prefix length.
#[derive(Debug, Clone, Copy)]
pub struct Cidr {
    /// The network's own address.
    pub network: Ipv4Addr,
    /// How many leading bits it fixes.
    pub prefix: u8,
}

impl Cidr {
    fn size(self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.prefix)).unwrap_or(u32::MAX)
    }

    fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + n)
    }

    fn offset(self, address: Ipv4Addr) -> Option<u32> {
        u32::from(address).checked_sub(u32::from(self.network)).filter(|offset| *offset < self.size())
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Which addresses and ports services hold.
#[derive(Debug)]
pub struct Allocator {
    range: Cidr,
    ports: std::ops::RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
    /// Where the search goes on, so that a freed address is not handed out again at once.
    next_address: u32,
    next_port: u16,
}

impl Allocator {
    /// Addresses from `range`, node ports from `ports`, nothing taken.
    pub fn new(range: Cidr, ports: std::ops::RangeInclusive<u16>) -> Self {
        Self { range, ports, taken: Mutex::default() }
    }

    /// Where addresses come from.
    pub fn range(&self) -> Cidr {
        self.range
    }

    /// Takes what an existing service holds.
    pub fn adopt(&self, service: &Value) {
        let mut taken = self.taken.lock();
        taken.addresses.extend(addresses(service));
        taken.ports.extend(node_ports(service));
    }

    fn release(&self, service: &Value) {
        let mut taken = self.taken.lock();
        for address in addresses(service) {
            taken.addresses.remove(&address);
        }
        for port in node_ports(service) {
            taken.ports.remove(&port);
        }
    }

    fn take_address(&self, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, String> {
        let mut taken = self.taken.lock();
        if let Some(address) = wanted {
            if self.range.offset(address).is_none_or(|offset| offset == 0 || offset == self.range.size() - 1) {
                return Err(format!("provided IP is not in the valid range. The range of valid IPs is {}", self.range));
            }
            return if taken.addresses.insert(address) {
                Ok(address)
            } else {
                Err("provided IP is already allocated".to_owned())
            };
        }
        // The lower part is left to those who ask for an address by name, as upstream does.
        let size = self.range.size() - 1;
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        for step in 0..size {
            let offset = 1 + reserved + (taken.next_address + step) % (size - 1 - reserved).max(1);
            let address = self.range.nth(offset);
            if taken.addresses.insert(address) {
                taken.next_address = taken.next_address.wrapping_add(step + 1) % size;
                return Ok(address);
            }
        }
        Err("range is full".to_owned())
    }

    fn take_port(&self, wanted: Option<u16>) -> Result<u16, String> {
        let mut taken = self.taken.lock();
        let (first, last) = (*self.ports.start(), *self.ports.end());
        if let Some(port) = wanted {
            if !self.ports.contains(&port) {
                return Err(format!(
                    "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                ));
            }
            return if taken.ports.insert(port) {
                Ok(port)
            } else {
                Err("provided port is already allocated".to_owned())
            };
        }
        let count = last - first + 1;
        for step in 0..count {
            let port = first + (taken.next_port.wrapping_add(step)) % count;
            if taken.ports.insert(port) {
                taken.next_port = (taken.next_port.wrapping_add(step) + 1) % count;
                return Ok(port);
            }
        }
        Err("range is full".to_owned())
    }
}

/// What one write took; given back unless it is kept.
struct Claim {
    allocator: Arc<Allocator>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
    /// What the old version of the service held and the new one does not.
    freed: (Vec<Ipv4Addr>, Vec<u16>),
    kept: bool,
}

impl Reservation for Claim {
    fn keep(mut self: Box<Self>) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = self.allocator.taken.lock();
        let (addresses, ports) =
            if self.kept { (&self.freed.0, &self.freed.1) } else { (&self.addresses, &self.ports) };
        for address in addresses {
            taken.addresses.remove(address);
        }
        for port in ports {
            taken.ports.remove(port);
        }
    }
}

fn addresses(service: &Value) -> impl Iterator<Item = Ipv4Addr> {
    let ip = service["spec"]["clusterIP"].as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
    ip.into_iter()
}

fn node_ports(service: &Value) -> Vec<u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let mut numbers: Vec<u16> =
        ports.filter_map(|port| port["nodePort"].as_u64()).filter_map(|port| u16::try_from(port).ok()).collect();
    numbers.extend(service["spec"]["healthCheckNodePort"].as_u64().and_then(|port| u16::try_from(port).ok()));
    numbers.retain(|port| *port != 0);
    numbers
}

/// See the module.
#[derive(Debug)]
pub struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    fn prepare_create(&self, server: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        object["status"] = json!({"loadBalancer": {}});
        allocate(server, object, None)
    }

    fn prepare_update(&self, server: &Inner, new: &mut Value, old: &Value) -> Result<Hold, Failure> {
        new["status"] = old["status"].clone();
        inherit(new, old);
        drop_unneeded(new, old);
        allocate(server, new, Some(old))
    }

    fn deleted(&self, server: &Inner, object: &Value) {
        server.services.release(object);
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

fn kind(service: &Value) -> &str {
    service["spec"]["type"].as_str().filter(|text| !text.is_empty()).unwrap_or("ClusterIP")
}

/// A client that updates without naming the addresses and ports given to the service means to keep them.
fn inherit(new: &mut Value, old: &Value) {
    if kind(new) == "ExternalName" {
        return;
    }
    if kind(old) != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let missing =
                new["spec"].get(field).is_none_or(|value| value.is_null() || value == "" || *value == json!([]));
            if let (true, Some(value)) = (missing, old["spec"].get(field)) {
                new["spec"][field] = value.clone();
            }
        }
    }
    if !wants_node_ports(new) {
        return;
    }
    let held: Vec<Value> = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let missing = port["nodePort"].as_u64().unwrap_or(0) == 0;
        let same = |other: &&Value| other["port"] == port["port"] && other.get("protocol") == port.get("protocol");
        if let (true, Some(node_port)) = (missing, held.iter().find(same).and_then(|other| other.get("nodePort"))) {
            let node_port = node_port.clone();
            port["nodePort"] = node_port;
        }
    }
}

/// What a service that has become another kind of service does not need any more, where the client left it as it was.
fn drop_unneeded(new: &mut Value, old: &Value) {
    let may_have_ports = |service: &Value| matches!(kind(service), "NodePort" | "LoadBalancer");
    let is_outside = |service: &Value| {
        may_have_ports(service)
            || kind(service) == "ClusterIP"
                && service["spec"]["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty())
    };
    let balances = |service: &Value| kind(service) == "LoadBalancer";
    let mut unneeded: Vec<&str> = Vec::new();
    if is_outside(old) && !is_outside(new) {
        unneeded.push("externalTrafficPolicy");
    }
    if balances(old) && !balances(new) {
        unneeded.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    for field in unneeded {
        if new["spec"].get(field) == old["spec"].get(field)
            && let Some(spec) = new["spec"].as_object_mut()
        {
            spec.remove(field);
        }
    }
    if may_have_ports(old) && !may_have_ports(new) && node_ports_of(new) == node_ports_of(old) {
        for port in new["spec"]["ports"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
}

fn node_ports_of(service: &Value) -> Vec<&Value> {
    service["spec"]["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]).collect()
}

fn wants_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

fn allocate(server: &Inner, service: &mut Value, old: Option<&Value>) -> Result<Hold, Failure> {
    let mut claim = Claim {
        allocator: server.services.clone(),
        addresses: Vec::new(),
        ports: Vec::new(),
        freed: Default::default(),
        kept: false,
    };
    let refuse = |service: &Value, cause: Cause| Failure::invalid("", "Service", object::name(service), vec![cause]);
    let had: Vec<Ipv4Addr> = old.into_iter().flat_map(addresses).collect();
    allocate_address(service, &mut claim, &had).map_err(|cause| refuse(service, cause))?;
    let had_ports = old.map(node_ports).unwrap_or_default();
    allocate_ports(service, &mut claim, &had_ports).map_err(|cause| refuse(service, cause))?;
    let (keeps, keeps_ports): (Vec<_>, Vec<_>) = (addresses(service).collect(), node_ports(service));
    claim.freed = (
        had.into_iter().filter(|address| !keeps.contains(address)).collect(),
        had_ports.into_iter().filter(|port| !keeps_ports.contains(port)).collect(),
    );
    Ok(Some(Box::new(claim)))
}

fn allocate_address(service: &mut Value, claim: &mut Claim, had: &[Ipv4Addr]) -> Result<(), Cause> {
    let Some(spec) = service["spec"].as_object_mut() else { return Ok(()) };
    if spec.get("type").is_some_and(|kind| kind == "ExternalName") {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.remove(field);
        }
        return Ok(());
    }
    let first = spec.get("clusterIPs").and_then(|list| list.get(0)).cloned();
    let wanted = spec.get("clusterIP").filter(|value| *value != "").cloned().or(first);
    let wanted = wanted.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = match wanted.as_str() {
        "None" => "None".to_owned(),
        "" => {
            let address = claim.allocator.take_address(None).map_err(|why| address_cause("", &why))?;
            claim.addresses.push(address);
            address.to_string()
        }
        text => {
            let parsed: IpAddr = text
                .parse()
                .map_err(|_| address_cause(text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))?;
            match parsed {
                IpAddr::V4(address) if had.contains(&address) => {}
                IpAddr::V4(address) => {
                    claim
                        .allocator
                        .take_address(Some(address))
                        .map_err(|why| address_cause(text, &format!("failed to allocate IP {text}: {why}")))?;
                    claim.addresses.push(address);
                }
                IpAddr::V6(_) => return Err(address_cause(text, "the server serves IPv4 services only")),
            }
            text.to_owned()
        }
    };
    spec.insert("clusterIP".into(), json!(address));
    spec.insert("clusterIPs".into(), json!([address]));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
    spec.entry("internalTrafficPolicy").or_insert_with(|| json!("Cluster"));
    Ok(())
}

fn address_cause(text: &str, detail: &str) -> Cause {
    Cause::invalid("spec.clusterIPs", format!("[{text:?}]"), detail)
}

fn allocate_ports(service: &mut Value, claim: &mut Claim, had: &[u16]) -> Result<(), Cause> {
    let wanted = wants_node_ports(service);
    let may_have = matches!(kind(service), "NodePort" | "LoadBalancer");
    let is_reached =
        kind(service) == "ClusterIP" && !service["spec"]["externalIPs"].as_array().is_none_or(Vec::is_empty);
    if may_have || is_reached {
        let spec = &mut service["spec"];
        if spec.get("externalTrafficPolicy").is_none() {
            spec["externalTrafficPolicy"] = json!("Cluster");
        }
        if spec["type"] == "LoadBalancer" && spec.get("allocateLoadBalancerNodePorts").is_none() {
            spec["allocateLoadBalancerNodePorts"] = json!(true);
        }
    }
    let mut given: Vec<(u16, Value)> = Vec::new();
    if !may_have {
        // Named all the same, they are refused.
        return Ok(());
    }
    for (index, port) in service["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
        let asked = port["nodePort"].as_u64().filter(|number| *number != 0);
        let refuse = |why: &str| Cause::invalid(&format!("spec.ports[{index}].nodePort"), asked.unwrap_or(0), why);
        let asked_port = asked.map(u16::try_from).transpose().map_err(|_| refuse("must be between 1 and 65535"))?;
        let number = match asked_port {
            Some(number) if had.contains(&number) => number,
            // TCP and UDP of one port may share a node port.
            Some(number) if given.iter().any(|(other, protocol)| *other == number && *protocol != port["protocol"]) => {
                number
            }
            None if !wanted => continue,
            asked => {
                let number = claim.allocator.take_port(asked).map_err(|why| refuse(&why))?;
                claim.ports.push(number);
                number
            }
        };
        port["nodePort"] = json!(number);
        given.push((number, port["protocol"].clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Arc<Allocator> {
        Arc::new(Allocator::new(Cidr { network: Ipv4Addr::new(10, 43, 0, 0), prefix: 16 }, 30000..=30001))
    }

    fn claim(allocator: &Arc<Allocator>) -> Claim {
        Claim { allocator: allocator.clone(), addresses: vec![], ports: vec![], freed: Default::default(), kept: false }
    }

    #[test]
    fn what_a_failed_write_took_is_given_back() {
        let allocator = allocator();
        let mut service = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 80}]}});
        let mut first = claim(&allocator);
        allocate_address(&mut service, &mut first, &[]).unwrap();
        allocate_ports(&mut service, &mut first, &[]).unwrap();
        assert_eq!(service["spec"]["ports"][0]["nodePort"], 30000);
        assert!(allocate_address(&mut service.clone(), &mut claim(&allocator), &[]).is_err());
        drop(first);
        let mut again = Box::new(claim(&allocator));
        allocate_address(&mut service, &mut again, &[]).unwrap();
        again.keep();
        assert!(allocate_address(&mut service, &mut claim(&allocator), &[]).is_err());
        allocator.release(&service);
        assert!(allocate_address(&mut service, &mut claim(&allocator), &[]).is_ok());
    }

    #[test]
    fn ports_run_out_and_headless_services_take_no_address() {
        let allocator = allocator();
        let mut taken = claim(&allocator);
        let mut service = json!({"spec": {"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}, {"port": 2}, {"port": 3}]}});
        allocate_address(&mut service, &mut taken, &[]).unwrap();
        assert!(taken.addresses.is_empty());
        assert_eq!(
            allocate_ports(&mut service, &mut taken, &[]).unwrap_err().message,
            "Invalid value: 0: range is full"
        );
    }
}
