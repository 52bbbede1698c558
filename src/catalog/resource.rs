//! One resource of what users wrote: a pool, a node, a region, a server or a route, found, put and deleted by its name.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json::Object;

/// The kinds of resources.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A pool, with its nodes.
    Pool,
    /// A node of a pool.
    Node,
    /// A region.
    Region,
    /// A server.
    Server,
    /// A route.
    Route,
}

impl Kind {
    /// Every kind, in the order of a document.
    pub const ALL: [Self; 5] = [Self::Pool, Self::Node, Self::Region, Self::Server, Self::Route];

    /// As a settings file and a document call the list of them.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Node => "node",
            Self::Region => "region",
            Self::Server => "server",
            Self::Route => "route",
        }
    }

    /// The key that names one.
    pub fn id_key(self) -> &'static str {
        match self {
            Self::Node | Self::Server => "id",
            Self::Pool | Self::Region | Self::Route => "name",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// What one resource is called.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Name {
    /// Its kind.
    pub kind: Kind,
    /// Its name, or its id.
    pub id: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.id)
    }
}

/// What a put does where there is such a resource already, or none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is new; one that is there is left alone.
    Create,
    /// It is there; where it is not nothing is made.
    Replace,
    /// Either.
    Put,
}

/// Why a resource cannot be put or deleted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResourceError {
    /// There is none.
    #[error("there is no {0}")]
    NotFound(Name),
    /// There is none, and none was to be made.
    #[error("there is no {0} to replace")]
    NothingToReplace(Name),
    /// There is one.
    #[error("there is a {0} already")]
    Exists(Name),
    /// Its content names another.
    #[error("the content is of {kind} {inside:?}, and {asked:?} was asked for; leave the name out or write the same")]
    OtherName {
        /// What it is.
        kind: Kind,
        /// As the content says.
        inside: String,
        /// As was asked.
        asked: String,
    },
    /// A new node that no pool was named for.
    #[error("node {0:?} is new, and no pool was named for it")]
    PoolMissing(String),
}

/// The resources of a list, as far as they are objects.
fn list(object: &Object, kind: Kind) -> impl Iterator<Item = &Object> {
    object.get(kind.key()).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// The name of one.
fn id_of(resource: &Object, kind: Kind) -> Option<&str> {
    resource.get(kind.id_key()).and_then(Value::as_str)
}

/// Every resource of a kind with its name; a node with its pool's name.
pub fn all(desired: &Object, kind: Kind) -> Vec<(&str, Option<&str>, &Object)> {
    let named = |resource, pool| Some((id_of(resource, kind)?, pool, resource));
    match kind {
        Kind::Node => list(desired, Kind::Pool)
            .flat_map(|pool| list(pool, kind).map(move |node| (node, id_of(pool, Kind::Pool))))
            .filter_map(|(node, pool)| named(node, pool))
            .collect(),
        _ => list(desired, kind).filter_map(|resource| named(resource, None)).collect(),
    }
}

/// One resource; a node with its pool's name.
pub fn find<'d>(desired: &'d Object, name: &Name) -> Option<(Option<&'d str>, &'d Object)> {
    all(desired, name.kind).into_iter().find(|(id, ..)| *id == name.id).map(|(_, pool, resource)| (pool, resource))
}

/// Puts a resource. A pool whose content says nothing of nodes keeps those that it has; a node stays in its pool, or goes to
/// the one that is named.
pub(super) fn put(
    desired: &mut Object,
    name: &Name,
    pool: Option<&str>,
    mut content: Object,
    mode: Mode,
) -> Result<(), ResourceError> {
    let Name { kind, id } = name;
    let id_key = kind.id_key();
    match content.get(id_key) {
        Some(Value::String(inside)) if inside != id => {
            let (inside, asked) = (inside.clone(), id.clone());
            return Err(ResourceError::OtherName { kind: *kind, inside, asked });
        }
        // What is no text is for the rules to refuse.
        Some(_) => {}
        None => {
            content.shift_insert(0, id_key.to_owned(), Value::String(id.clone()));
        }
    }
    let known = find(desired, name).map(|(pool, resource)| (pool.map(str::to_owned), resource.clone()));
    match (&known, mode) {
        (Some(_), Mode::Create) => return Err(ResourceError::Exists(name.clone())),
        (None, Mode::Replace) => return Err(ResourceError::NothingToReplace(name.clone())),
        _ => {}
    }
    let nodes = Kind::Node.key();
    if *kind == Kind::Pool
        && !content.contains_key(nodes)
        && let Some(kept) = known.as_ref().and_then(|(_, resource)| resource.get(nodes))
    {
        content.insert(nodes.to_owned(), kept.clone());
    }
    let home = match (kind, pool, known.and_then(|(pool, _)| pool)) {
        (Kind::Node, Some(pool), before) => {
            if pool_of(desired, pool).is_some() && before.is_some_and(|before| before != pool) {
                delete(desired, name)?;
            }
            pool_of(desired, pool).ok_or_else(|| no_pool(pool))?
        }
        (Kind::Node, None, Some(pool)) => pool_of(desired, &pool).ok_or_else(|| no_pool(&pool))?,
        (Kind::Node, None, None) => return Err(ResourceError::PoolMissing(id.clone())),
        _ => desired,
    };
    let list = home.entry(kind.key()).or_insert_with(|| Value::Array(Vec::new()));
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Some(list) = list.as_array_mut() else { return Ok(()) };
    match list.iter_mut().find(|resource| is_it(resource, name)) {
        Some(resource) => *resource = Value::Object(content),
        None => list.push(Value::Object(content)),
    }
    Ok(())
}

/// Deletes a resource; a pool with its nodes.
pub(super) fn delete(desired: &mut Object, name: &Name) -> Result<(), ResourceError> {
    let key = name.kind.key();
    let remove = |home: &mut Object| {
        let list = home.get_mut(key).and_then(Value::as_array_mut)?;
        let at = list.iter().position(|resource| is_it(resource, name))?;
        list.remove(at);
        // As if there had never been one.
        if list.is_empty() {
            home.shift_remove(key);
        }
        Some(())
    };
    let removed = match name.kind {
        Kind::Node => {
            let pools = desired.get_mut(Kind::Pool.key()).and_then(Value::as_array_mut).into_iter().flatten();
            pools.filter_map(Value::as_object_mut).find_map(remove)
        }
        _ => remove(desired),
    };
    removed.ok_or_else(|| ResourceError::NotFound(name.clone()))
}

fn is_it(resource: &Value, name: &Name) -> bool {
    resource.as_object().and_then(|resource| id_of(resource, name.kind)) == Some(name.id.as_str())
}

fn pool_of<'d>(desired: &'d mut Object, pool: &str) -> Option<&'d mut Object> {
    let pools = desired.get_mut(Kind::Pool.key()).and_then(Value::as_array_mut)?;
    pools.iter_mut().filter_map(Value::as_object_mut).find(|known| id_of(known, Kind::Pool) == Some(pool))
}

fn no_pool(pool: &str) -> ResourceError {
    ResourceError::NotFound(Name { kind: Kind::Pool, id: pool.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::json::{canonical, parse};
    use super::*;

    fn object(text: &str) -> Object {
        parse(text.as_bytes()).unwrap()
    }

    fn name(kind: Kind, id: &str) -> Name {
        Name { kind, id: id.to_owned() }
    }

    fn shop() -> Object {
        object(
            r#"{"pool":[{"name":"web","x":1,"node":[{"id":"web-1","address":"a:1"},{"id":"web-2","address":"b:1"}]},{"name":"db"}]}"#,
        )
    }

    fn text(object: &Object) -> String {
        String::from_utf8(canonical(object)).unwrap()
    }

    #[test]
    fn a_resource_is_found_by_kind_and_name_and_a_node_with_its_pool() {
        let shop = shop();
        assert_eq!(find(&shop, &name(Kind::Node, "web-2")).unwrap().0, Some("web"));
        assert!(find(&shop, &name(Kind::Pool, "db")).is_some());
        assert!(find(&shop, &name(Kind::Node, "web")).is_none());
        assert_eq!(all(&shop, Kind::Node).len(), 2);
        assert_eq!(all(&shop, Kind::Route).len(), 0);
    }

    #[test]
    fn what_is_put_takes_the_place_of_what_was_there_and_nothing_else_changes() {
        let mut shop = shop();
        put(&mut shop, &name(Kind::Node, "web-1"), None, object(r#"{"address":"c:1"}"#), Mode::Replace).unwrap();
        put(&mut shop, &name(Kind::Pool, "web"), None, object(r#"{"name":"web","strategy":"p2c"}"#), Mode::Put)
            .unwrap();
        put(&mut shop, &name(Kind::Node, "db-1"), Some("db"), object(r#"{"address":"d:1"}"#), Mode::Create).unwrap();
        put(&mut shop, &name(Kind::Region, "eu"), None, Object::new(), Mode::Put).unwrap();
        assert_eq!(
            text(&shop),
            r#"{"pool":[{"name":"web","node":[{"address":"c:1","id":"web-1"},{"address":"b:1","id":"web-2"}],"strategy":"p2c"},{"name":"db","node":[{"address":"d:1","id":"db-1"}]}],"region":[{"name":"eu"}]}"#
        );
    }

    #[test]
    fn a_node_moves_to_the_pool_that_is_named() {
        let mut shop = shop();
        put(&mut shop, &name(Kind::Node, "web-1"), Some("db"), object(r#"{"address":"a:1"}"#), Mode::Put).unwrap();
        assert_eq!(find(&shop, &name(Kind::Node, "web-1")).unwrap().0, Some("db"));
        assert_eq!(all(&shop, Kind::Node).len(), 2);
    }

    #[test]
    fn what_is_not_there_is_neither_replaced_nor_deleted_and_what_is_there_is_not_created() {
        let mut shop = shop();
        let before = shop.clone();
        let web_9 = name(Kind::Node, "web-9");
        assert_eq!(
            put(&mut shop, &web_9, Some("web"), Object::new(), Mode::Replace),
            Err(ResourceError::NothingToReplace(web_9.clone()))
        );
        assert_eq!(delete(&mut shop, &web_9), Err(ResourceError::NotFound(web_9.clone())));
        assert_eq!(
            put(&mut shop, &web_9, None, Object::new(), Mode::Put),
            Err(ResourceError::PoolMissing("web-9".to_owned()))
        );
        assert_eq!(put(&mut shop, &web_9, Some("nope"), Object::new(), Mode::Put), Err(no_pool("nope")));
        let web = name(Kind::Pool, "web");
        assert_eq!(put(&mut shop, &web, None, Object::new(), Mode::Create), Err(ResourceError::Exists(web.clone())));
        let other = put(&mut shop, &web, None, object(r#"{"name":"wab"}"#), Mode::Put).unwrap_err().to_string();
        assert!(other.contains("wab") && other.contains("web"), "{other}");
        assert_eq!(shop, before);
    }

    #[test]
    fn a_pool_is_deleted_with_its_nodes() {
        let mut shop = shop();
        delete(&mut shop, &name(Kind::Pool, "web")).unwrap();
        assert_eq!(text(&shop), r#"{"pool":[{"name":"db"}]}"#);
    }
}
