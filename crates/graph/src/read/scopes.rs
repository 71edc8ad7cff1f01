//! The names of values. A value of a subgraph gets a name of its own in the graph each time that
//! the subgraph is read.

use std::collections::HashMap;

use crate::{GraphError, ValueId};

/// The most bytes of a name that names of other values begin with. An unrolled loop repeats it for
/// every value.
const LONGEST_PREFIX: usize = 128;

/// The values of the whole graph, and those that each open subgraph can refer to.
#[derive(Default)]
pub(super) struct Names {
    /// All values, by their names in the graph.
    by_name: HashMap<String, ValueId>,
    /// The last suffix of each name that [`Names::fresh`] had to extend.
    suffixes: HashMap<String, usize>,
    /// The subgraphs that are being read, from the outermost to the innermost.
    scopes: Vec<Scope>,
}

/// A subgraph that is being read.
struct Scope {
    /// What the names of its values and nodes begin with.
    prefix: String,
    /// Its values, by their names in the file.
    values: HashMap<String, ValueId>,
}

impl Names {
    /// The number of subgraphs that are being read.
    pub(super) fn depth(&self) -> usize {
        self.scopes.len()
    }

    /// Begins a subgraph within the present one.
    pub(super) fn enter(&mut self, name: &str) {
        let prefix = self.qualified(name);
        self.scopes.push(Scope {
            prefix,
            values: HashMap::new(),
        });
    }

    /// Ends all subgraphs but the outermost `depth`.
    pub(super) fn leave(&mut self, depth: usize) {
        self.scopes.truncate(depth);
    }

    /// The name, after the names of the subgraphs that are being read.
    pub(super) fn qualified(&self, name: &str) -> String {
        match self.scopes.last() {
            None => name.to_owned(),
            // Names that the reader makes begin with the name of a node.
            Some(scope) if name.starts_with(&scope.prefix) => name.to_owned(),
            Some(scope) => format!("{}.{}", shortened(&scope.prefix), shortened(name)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<ValueId> {
        let scopes = self.scopes.iter().rev();
        let inner = scopes.filter_map(|scope| scope.values.get(name)).next();
        inner.or_else(|| self.by_name.get(name)).copied()
    }

    /// Gives a value of the present subgraph its name in the graph.
    pub(super) fn add(&mut self, name: String, id: ValueId) -> Result<String, GraphError> {
        if self.scopes.is_empty() {
            return match self.by_name.insert(name.clone(), id) {
                None => Ok(name),
                Some(_) => Err(GraphError::DuplicateName { name }),
            };
        }
        let unique = self.fresh(&self.qualified(&name));
        self.by_name.insert(unique.clone(), id);
        self.alias(name, id)?;
        Ok(unique)
    }

    /// Makes an existing value known in the present subgraph by another name.
    pub(super) fn alias(&mut self, name: String, id: ValueId) -> Result<(), GraphError> {
        if name.is_empty() {
            return Err(GraphError::EmptyName {
                place: "a value of a subgraph",
            });
        }
        let values = self.scopes.last_mut().map(|scope| &mut scope.values);
        let values = values.unwrap_or(&mut self.by_name);
        match values.insert(name.clone(), id) {
            None => Ok(()),
            Some(_) => Err(GraphError::DuplicateName { name }),
        }
    }

    /// An unused name that begins with `like`.
    pub(super) fn fresh(&mut self, like: &str) -> String {
        let known = |name: &str| match self.scopes.last() {
            Some(scope) => scope.values.contains_key(name) || self.by_name.contains_key(name),
            None => self.by_name.contains_key(name),
        };
        if !known(like) {
            return like.to_owned();
        }
        // Counting on from the last suffix tries each name once: a file may repeat a node's name.
        let mut suffix = self.suffixes.get(like).copied().unwrap_or_default();
        loop {
            suffix += 1;
            let name = format!("{like}_{suffix}");
            if !known(&name) {
                self.suffixes.insert(like.to_owned(), suffix);
                return name;
            }
        }
    }
}

/// The start of a long name.
pub(super) fn shortened(name: &str) -> &str {
    let mut end = name.len().min(LONGEST_PREFIX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
