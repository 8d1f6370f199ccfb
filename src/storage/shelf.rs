//! A bounded number of open things; the one that was unused longest makes room for the next.

/// Open files or maps by the number of their file.
#[derive(Debug)]
pub struct Shelf<T> {
    items: Vec<Item<T>>,
    limit: usize,
    clock: u64,
}

#[derive(Debug)]
struct Item<T> {
    key: usize,
    used: u64,
    value: T,
}

impl<T> Shelf<T> {
    /// An empty shelf for at most `limit` things.
    pub const fn new(limit: usize) -> Self {
        Self { items: Vec::new(), limit, clock: 0 }
    }

    /// The thing of this number, if it is here.
    pub fn get(&mut self, key: usize) -> Option<&mut T> {
        self.clock += 1;
        let item = self.items.iter_mut().find(|item| item.key == key)?;
        item.used = self.clock;
        Some(&mut item.value)
    }

    /// Puts a thing here that wasn't, dropping the one that was unused longest if there is no room.
    pub fn put(&mut self, key: usize, value: T) -> &mut T {
        if self.items.len() == self.limit {
            let oldest = (0..self.items.len()).min_by_key(|at| self.items[*at].used);
            oldest.map(|at| self.items.swap_remove(at));
        }
        self.clock += 1;
        self.items.push(Item { key, used: self.clock, value });
        &mut self.items.last_mut().expect("an item was pushed just now").value
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.items.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unused_longest_makes_room() {
        let mut shelf = Shelf::new(2);
        shelf.put(1, "one");
        shelf.put(2, "two");
        assert_eq!(shelf.get(1), Some(&mut "one"));
        shelf.put(3, "three");
        assert_eq!(shelf.get(2), None);
        assert_eq!(shelf.get(1), Some(&mut "one"));
        assert_eq!(shelf.get(3), Some(&mut "three"));
    }
}
