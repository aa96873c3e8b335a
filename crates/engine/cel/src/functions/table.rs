//! The signatures, as a table. A leading dot marks a method, whose first parameter is the receiver; single capitals are
//! type parameters.

use super::{Cost, Overload};
use crate::types::Type;

/// All signatures with the function each belongs to.
pub fn overloads() -> impl Iterator<Item = (&'static str, Overload)> {
    TABLE.lines().map(str::trim).filter(|line| !line.is_empty()).map(row)
}

fn row(line: &'static str) -> (&'static str, Overload) {
    let mut columns = line.split_whitespace();
    let id = columns.next().unwrap_or_default();
    let signature = columns.next().unwrap_or_default();
    let result = columns.next().unwrap_or_default();
    let cost = cost(columns.next().unwrap_or("unit"));
    let open = signature.find('(').expect("a signature has parameters");
    let (name, is_member) = match signature[..open].strip_prefix('.') {
        Some(name) => (name, true),
        None => (&signature[..open], false),
    };
    // The operators have no parentheses in their names, so the last one closes the parameters.
    let params = arguments(&signature[open + 1..signature.len() - 1]).into_iter().map(read).collect();
    let result = read(result);
    (name, Overload { id, is_member, params, result, type_params: 2, cost })
}

fn arguments(text: &'static str) -> Vec<&'static str> {
    let mut depth = 0;
    text.split(|c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    })
    .filter(|part| !part.is_empty())
    .collect()
}

fn read(text: &'static str) -> Type {
    if let Some((outer, inner)) = text.split_once('(') {
        let mut inner = arguments(&inner[..inner.len() - 1]).into_iter().map(read);
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        return match outer {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional" => Type::optional(next()),
            _ => Type::Type(next().into()),
        };
    }
    match text {
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "IP" => Type::Opaque("net.IP"),
        "CIDR" => Type::Opaque("net.CIDR"),
        "Quantity" => Type::Opaque("kubernetes.Quantity"),
        "URL" => Type::Opaque("kubernetes.URL"),
        "Semver" => Type::Opaque("kubernetes.Semver"),
        "Format" => Type::Opaque("kubernetes.NamedFormat"),
        "Authorizer" => Type::Opaque("kubernetes.authorization.Authorizer"),
        "PathCheck" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "GroupCheck" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "ResourceCheck" => Type::Opaque("kubernetes.authorization.ResourceCheck"),
        "Decision" => Type::Opaque("kubernetes.authorization.Decision"),
        other => unreachable!("the table has no type {other}"),
    }
}

fn cost(text: &str) -> Cost {
    match text {
        "unit" => Cost::Unit,
        "free" => Cost::Free,
        "compare" => Cost::Compare,
        "addtext" => Cost::AddText,
        "addlist" => Cost::AddList,
        "in" => Cost::In,
        "affix" => Cost::Affix,
        "matches" => Cost::Matches,
        "contains" => Cost::Contains,
        "tobytes" => Cost::ToBytes,
        "totext" => Cost::ToText,
        "format" => Cost::Format,
        "quote" => Cost::Quote,
        "check" => Cost::Check,
        "selector" => Cost::Selector,
        "walk" => Cost::Walk,
        "traverse" => Cost::Traverse,
        "argument" => Cost::TraverseArgument,
        "replace" => Cost::Replace,
        "split" => Cost::Split,
        "join" => Cost::Join,
        "find" => Cost::Find,
        "parse" => Cost::Parse,
        "canonical" => Cost::Canonical,
        "address" => Cost::ContainsAddress { text: false },
        "addresstext" => Cost::ContainsAddress { text: true },
        "network" => Cost::ContainsNetwork { text: false },
        "networktext" => Cost::ContainsNetwork { text: true },
        "validate" => Cost::Validate,
        "conditional" => Cost::Conditional,
        "index" => Cost::Index,
        "sets" => Cost::Sets { twice: false },
        "setstwice" => Cost::Sets { twice: true },
        "made" => Cost::Made,
        "sorted" => Cost::Sorted,
        "nothing" => Cost::Nothing,
        "dyn" => Cost::Dyn,
        other => unreachable!("the table has no cost {other}"),
    }
}

const TABLE: &str = "
conditional _?_:_(bool,A,A) A conditional
logical_and _&&_(bool,bool) bool free
logical_or _||_(bool,bool) bool free
logical_not !_(bool) bool
not_strictly_false @not_strictly_false(bool) bool
equals _==_(A,A) bool compare
not_equals _!=_(A,A) bool compare
less_bool _<_(bool,bool) bool
less_int64 _<_(int,int) bool
less_int64_double _<_(int,double) bool
less_int64_uint64 _<_(int,uint) bool
less_uint64 _<_(uint,uint) bool
less_uint64_double _<_(uint,double) bool
less_uint64_int64 _<_(uint,int) bool
less_double _<_(double,double) bool
less_double_int64 _<_(double,int) bool
less_double_uint64 _<_(double,uint) bool
less_string _<_(string,string) bool compare
less_bytes _<_(bytes,bytes) bool compare
less_timestamp _<_(timestamp,timestamp) bool
less_duration _<_(duration,duration) bool
less_equals_bool _<=_(bool,bool) bool
less_equals_int64 _<=_(int,int) bool
less_equals_int64_double _<=_(int,double) bool
less_equals_int64_uint64 _<=_(int,uint) bool
less_equals_uint64 _<=_(uint,uint) bool
less_equals_uint64_double _<=_(uint,double) bool
less_equals_uint64_int64 _<=_(uint,int) bool
less_equals_double _<=_(double,double) bool
less_equals_double_int64 _<=_(double,int) bool
less_equals_double_uint64 _<=_(double,uint) bool
less_equals_string _<=_(string,string) bool compare
less_equals_bytes _<=_(bytes,bytes) bool compare
less_equals_timestamp _<=_(timestamp,timestamp) bool
less_equals_duration _<=_(duration,duration) bool
greater_bool _>_(bool,bool) bool
greater_int64 _>_(int,int) bool
greater_int64_double _>_(int,double) bool
greater_int64_uint64 _>_(int,uint) bool
greater_uint64 _>_(uint,uint) bool
greater_uint64_double _>_(uint,double) bool
greater_uint64_int64 _>_(uint,int) bool
greater_double _>_(double,double) bool
greater_double_int64 _>_(double,int) bool
greater_double_uint64 _>_(double,uint) bool
greater_string _>_(string,string) bool compare
greater_bytes _>_(bytes,bytes) bool compare
greater_timestamp _>_(timestamp,timestamp) bool
greater_duration _>_(duration,duration) bool
greater_equals_bool _>=_(bool,bool) bool
greater_equals_int64 _>=_(int,int) bool
greater_equals_int64_double _>=_(int,double) bool
greater_equals_int64_uint64 _>=_(int,uint) bool
greater_equals_uint64 _>=_(uint,uint) bool
greater_equals_uint64_double _>=_(uint,double) bool
greater_equals_uint64_int64 _>=_(uint,int) bool
greater_equals_double _>=_(double,double) bool
greater_equals_double_int64 _>=_(double,int) bool
greater_equals_double_uint64 _>=_(double,uint) bool
greater_equals_string _>=_(string,string) bool compare
greater_equals_bytes _>=_(bytes,bytes) bool compare
greater_equals_timestamp _>=_(timestamp,timestamp) bool
greater_equals_duration _>=_(duration,duration) bool
add_bytes _+_(bytes,bytes) bytes addtext
add_double _+_(double,double) double
add_duration_duration _+_(duration,duration) duration
add_duration_timestamp _+_(duration,timestamp) timestamp
add_timestamp_duration _+_(timestamp,duration) timestamp
add_int64 _+_(int,int) int
add_list _+_(list(A),list(A)) list(A) addlist
add_string _+_(string,string) string addtext
add_uint64 _+_(uint,uint) uint
subtract_double _-_(double,double) double
subtract_duration_duration _-_(duration,duration) duration
subtract_int64 _-_(int,int) int
subtract_timestamp_duration _-_(timestamp,duration) timestamp
subtract_timestamp_timestamp _-_(timestamp,timestamp) duration
subtract_uint64 _-_(uint,uint) uint
multiply_double _*_(double,double) double
multiply_int64 _*_(int,int) int
multiply_uint64 _*_(uint,uint) uint
divide_double _/_(double,double) double
divide_int64 _/_(int,int) int
divide_uint64 _/_(uint,uint) uint
modulo_int64 _%_(int,int) int
modulo_uint64 _%_(uint,uint) uint
negate_double -_(double) double
negate_int64 -_(int) int
index_list _[_](list(A),int) A index
index_map _[_](map(A,B),A) B index
optional_list_index_int _[_](optional(list(A)),int) optional(A)
optional_map_index_value _[_](optional(map(A,B)),A) optional(B)
list_optindex_optional_int _[?_](list(A),int) optional(A)
optional_list_optindex_optional_int _[?_](optional(list(A)),int) optional(A)
map_optindex_optional_value _[?_](map(A,B),A) optional(B)
optional_map_optindex_optional_value _[?_](optional(map(A,B)),A) optional(B)
in_list @in(A,list(A)) bool in
in_map @in(A,map(A,B)) bool
size_bytes size(bytes) int
bytes_size .size(bytes) int
size_list size(list(A)) int
list_size .size(list(A)) int
size_map size(map(A,B)) int
map_size .size(map(A,B)) int
size_string size(string) int
string_size .size(string) int
type type(A) type(A)
to_dyn dyn(A) dyn dyn
bool_to_bool bool(bool) bool
string_to_bool bool(string) bool
bytes_to_bytes bytes(bytes) bytes
string_to_bytes bytes(string) bytes tobytes
double_to_double double(double) double
int64_to_double double(int) double
string_to_double double(string) double
uint64_to_double double(uint) double
duration_to_duration duration(duration) duration
string_to_duration duration(string) duration
int64_to_duration duration(int) duration
int64_to_int64 int(int) int
double_to_int64 int(double) int
string_to_int64 int(string) int
timestamp_to_int64 int(timestamp) int
uint64_to_int64 int(uint) int
duration_to_int64 int(duration) int
string_to_string string(string) string
bool_to_string string(bool) string
bytes_to_string string(bytes) string totext
double_to_string string(double) string
duration_to_string string(duration) string
int64_to_string string(int) string
timestamp_to_string string(timestamp) string
uint64_to_string string(uint) string
ip_to_string string(IP) string
cidr_to_string string(CIDR) string
timestamp_to_timestamp timestamp(timestamp) timestamp
string_to_timestamp timestamp(string) timestamp
int64_to_timestamp timestamp(int) timestamp
uint64_to_uint64 uint(uint) uint
double_to_uint64 uint(double) uint
int64_to_uint64 uint(int) uint
string_to_uint64 uint(string) uint
contains_string .contains(string,string) bool contains
ends_with_string .endsWith(string,string) bool affix
starts_with_string .startsWith(string,string) bool affix
matches_string .matches(string,string) bool matches
matches matches(string,string) bool matches
timestamp_to_year .getFullYear(timestamp) int
timestamp_to_year_with_tz .getFullYear(timestamp,string) int
timestamp_to_month .getMonth(timestamp) int
timestamp_to_month_with_tz .getMonth(timestamp,string) int
timestamp_to_day_of_year .getDayOfYear(timestamp) int
timestamp_to_day_of_year_with_tz .getDayOfYear(timestamp,string) int
timestamp_to_day_of_month .getDayOfMonth(timestamp) int
timestamp_to_day_of_month_with_tz .getDayOfMonth(timestamp,string) int
timestamp_to_day_of_month_1_based .getDate(timestamp) int
timestamp_to_day_of_month_1_based_with_tz .getDate(timestamp,string) int
timestamp_to_day_of_week .getDayOfWeek(timestamp) int
timestamp_to_day_of_week_with_tz .getDayOfWeek(timestamp,string) int
timestamp_to_hours .getHours(timestamp) int
timestamp_to_hours_with_tz .getHours(timestamp,string) int
duration_to_hours .getHours(duration) int
timestamp_to_minutes .getMinutes(timestamp) int
timestamp_to_minutes_with_tz .getMinutes(timestamp,string) int
duration_to_minutes .getMinutes(duration) int
timestamp_to_seconds .getSeconds(timestamp) int
timestamp_to_seconds_tz .getSeconds(timestamp,string) int
duration_to_seconds .getSeconds(duration) int
timestamp_to_milliseconds .getMilliseconds(timestamp) int
timestamp_to_milliseconds_with_tz .getMilliseconds(timestamp,string) int
duration_to_milliseconds .getMilliseconds(duration) int
optional_of optional.of(A) optional(A)
optional_ofNonZeroValue optional.ofNonZeroValue(A) optional(A)
optional_none optional.none() optional(A)
optional_value .value(optional(A)) A
optional_hasValue .hasValue(optional(A)) bool
optional_or_optional .or(optional(A),optional(A)) optional(A) nothing
optional_orValue_value .orValue(optional(A),A) A nothing
optional_unwrap optional.unwrap(list(optional(A))) list(A)
optional_unwrapOpt .unwrapOpt(list(optional(A))) list(A)
@mapInsert_map_key_value cel.@mapInsert(map(A,B),A,B) map(A,B)
@mapInsert_map_map cel.@mapInsert(map(A,B),map(A,B)) map(A,B)
string_char_at_int .charAt(string,int) string
string_index_of_string .indexOf(string,string) int walk
string_index_of_string_int .indexOf(string,string,int) int walk
list_a_index_of_int .indexOf(list(A),A) int walk
string_last_index_of_string .lastIndexOf(string,string) int walk
string_last_index_of_string_int .lastIndexOf(string,string,int) int walk
list_a_last_index_of_int .lastIndexOf(list(A),A) int walk
string_lower_ascii .lowerAscii(string) string traverse
string_upper_ascii .upperAscii(string) string traverse
string_replace_string_string .replace(string,string,string) string replace
string_replace_string_string_int .replace(string,string,string,int) string replace
string_split_string .split(string,string) list(string) split
string_split_string_int .split(string,string,int) list(string) split
string_substring_int .substring(string,int) string traverse
string_substring_int_int .substring(string,int,int) string traverse
string_trim .trim(string) string traverse
string_format .format(string,list(dyn)) string format
strings_quote strings.quote(string) string quote
list_join .join(list(string)) string join
list_join_string .join(list(string),string) string join
list_int_is_sorted_bool .isSorted(list(int)) bool walk
list_uint_is_sorted_bool .isSorted(list(uint)) bool walk
list_double_is_sorted_bool .isSorted(list(double)) bool walk
list_bool_is_sorted_bool .isSorted(list(bool)) bool walk
list_duration_is_sorted_bool .isSorted(list(duration)) bool walk
list_timestamp_is_sorted_bool .isSorted(list(timestamp)) bool walk
list_string_is_sorted_bool .isSorted(list(string)) bool walk
list_bytes_is_sorted_bool .isSorted(list(bytes)) bool walk
list_int_sum_int .sum(list(int)) int walk
list_uint_sum_uint .sum(list(uint)) uint walk
list_double_sum_double .sum(list(double)) double walk
list_duration_sum_duration .sum(list(duration)) duration walk
list_int_max_int .max(list(int)) int walk
list_uint_max_uint .max(list(uint)) uint walk
list_double_max_double .max(list(double)) double walk
list_bool_max_bool .max(list(bool)) bool walk
list_duration_max_duration .max(list(duration)) duration walk
list_timestamp_max_timestamp .max(list(timestamp)) timestamp walk
list_string_max_string .max(list(string)) string walk
list_bytes_max_bytes .max(list(bytes)) bytes walk
list_int_min_int .min(list(int)) int walk
list_uint_min_uint .min(list(uint)) uint walk
list_double_min_double .min(list(double)) double walk
list_bool_min_bool .min(list(bool)) bool walk
list_duration_min_duration .min(list(duration)) duration walk
list_timestamp_min_timestamp .min(list(timestamp)) timestamp walk
list_string_min_string .min(list(string)) string walk
list_bytes_min_bytes .min(list(bytes)) bytes walk
list_slice .slice(list(A),int,int) list(A) made
list_flatten .flatten(list(list(A))) list(A) made
list_flatten_int .flatten(list(dyn),int) list(dyn) made
list_int_sort .sort(list(int)) list(int) sorted
list_uint_sort .sort(list(uint)) list(uint) sorted
list_double_sort .sort(list(double)) list(double) sorted
list_bool_sort .sort(list(bool)) list(bool) sorted
list_duration_sort .sort(list(duration)) list(duration) sorted
list_timestamp_sort .sort(list(timestamp)) list(timestamp) sorted
list_string_sort .sort(list(string)) list(string) sorted
list_bytes_sort .sort(list(bytes)) list(bytes) sorted
list_int_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(int)) list(A) sorted
list_uint_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(uint)) list(A) sorted
list_double_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(double)) list(A) sorted
list_bool_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(bool)) list(A) sorted
list_duration_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(duration)) list(A) sorted
list_timestamp_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(timestamp)) list(A) sorted
list_string_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(string)) list(A) sorted
list_bytes_sortByAssociatedKeys .@sortByAssociatedKeys(list(A),list(bytes)) list(A) sorted
lists_range lists.range(int) list(int) made
list_reverse .reverse(list(A)) list(A) made
list_distinct .distinct(list(A)) list(A) sorted
list_sets_contains_list sets.contains(list(A),list(A)) bool sets
list_sets_equivalent_list sets.equivalent(list(A),list(A)) bool setstwice
list_sets_intersects_list sets.intersects(list(A),list(A)) bool sets
string_find_string .find(string,string) string find
string_find_all_string .findAll(string,string) list(string) find
string_find_all_string_int .findAll(string,string,int) list(string) find
string_to_url url(string) URL argument
is_url_string isURL(string) bool
url_get_scheme .getScheme(URL) string
url_get_host .getHost(URL) string
url_get_hostname .getHostname(URL) string
url_get_port .getPort(URL) string
url_get_escaped_path .getEscapedPath(URL) string
url_get_query .getQuery(URL) map(string,list(string))
string_to_ip ip(string) IP parse
cidr_ip .ip(CIDR) IP
ip_family .family(IP) int
ip_is_canonical ip.isCanonical(string) bool canonical
ip_is_unspecified .isUnspecified(IP) bool
ip_is_loopback .isLoopback(IP) bool
ip_is_link_local_multicast .isLinkLocalMulticast(IP) bool
ip_is_link_local_unicast .isLinkLocalUnicast(IP) bool
ip_is_global_unicast .isGlobalUnicast(IP) bool
is_ip isIP(string) bool parse
string_to_cidr cidr(string) CIDR parse
cidr_contains_ip_string .containsIP(CIDR,string) bool addresstext
cidr_contains_ip_ip .containsIP(CIDR,IP) bool address
cidr_contains_cidr_string .containsCIDR(CIDR,string) bool networktext
cidr_contains_cidr .containsCIDR(CIDR,CIDR) bool network
cidr_prefix_length .prefixLength(CIDR) int
cidr_masked .masked(CIDR) CIDR
is_cidr isCIDR(string) bool parse
string_to_quantity quantity(string) Quantity parse
is_quantity_string isQuantity(string) bool parse
quantity_sign .sign(Quantity) int
quantity_is_greater_than .isGreaterThan(Quantity,Quantity) bool
quantity_is_less_than .isLessThan(Quantity,Quantity) bool
quantity_compare_to .compareTo(Quantity,Quantity) int
quantity_get_float .asApproximateFloat(Quantity) double
quantity_get_int .asInteger(Quantity) int
quantity_is_integer .isInteger(Quantity) bool
quantity_add .add(Quantity,Quantity) Quantity
quantity_add_int .add(Quantity,int) Quantity
quantity_sub .sub(Quantity,Quantity) Quantity
quantity_sub_int .sub(Quantity,int) Quantity
string_to_semver semver(string) Semver parse
string_bool_to_semver semver(string,bool) Semver parse
is_semver_string isSemver(string) bool parse
is_semver_string_bool isSemver(string,bool) bool parse
semver_is_greater_than .isGreaterThan(Semver,Semver) bool
semver_is_less_than .isLessThan(Semver,Semver) bool
semver_compare_to .compareTo(Semver,Semver) int
semver_major .major(Semver) int
semver_minor .minor(Semver) int
semver_patch .patch(Semver) int
format-validate .validate(Format,string) optional(list(string)) validate
format-named format.named(string) optional(Format)
format_dns1123label format.dns1123Label() Format
format_dns1123subdomain format.dns1123Subdomain() Format
format_dns1035label format.dns1035Label() Format
format_qualifiedname format.qualifiedName() Format
format_dns1123labelprefix format.dns1123LabelPrefix() Format
format_dns1123subdomainprefix format.dns1123SubdomainPrefix() Format
format_dns1035labelprefix format.dns1035LabelPrefix() Format
format_labelvalue format.labelValue() Format
format_uri format.uri() Format
format_uuid format.uuid() Format
format_byte format.byte() Format
format_date format.date() Format
format_datetime format.datetime() Format
authorizer_path .path(Authorizer,string) PathCheck
authorizer_group .group(Authorizer,string) GroupCheck
authorizer_serviceaccount .serviceAccount(Authorizer,string,string) Authorizer
groupcheck_resource .resource(GroupCheck,string) ResourceCheck
resourcecheck_subresource .subresource(ResourceCheck,string) ResourceCheck
resourcecheck_namespace .namespace(ResourceCheck,string) ResourceCheck
resourcecheck_name .name(ResourceCheck,string) ResourceCheck
pathcheck_check .check(PathCheck,string) Decision check
resourcecheck_check .check(ResourceCheck,string) Decision check
decision_errored .errored(Decision) bool
decision_error .error(Decision) string
decision_allowed .allowed(Decision) bool
decision_reason .reason(Decision) string
authorizer_fieldselector .fieldSelector(ResourceCheck,string) ResourceCheck selector
authorizer_labelselector .labelSelector(ResourceCheck,string) ResourceCheck selector
string_jsonpatch_escapeKey_string jsonpatch.escapeKey(string) string argument
";
