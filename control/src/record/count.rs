//! How single values of a record are read: whole numbers within bounds, and names that occur once.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The largest count that a line may have. So many windows of so many requests still fit the tallies.
pub(super) const MOST: u64 = 1_000_000_000_000;

/// More entries than any object of a record has.
const LONGEST: usize = 64;

/// A count of something, at most [`MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 0 to {MOST}")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
                if value > MOST {
                    return Err(E::invalid_value(serde::de::Unexpected::Unsigned(value), &self));
                }
                Ok(Count(value))
            }
        }
        deserializer.deserialize_u64(Whole)
    }
}

/// What a JSON object holds, in its order. A key that occurs twice is an error: which of the two is meant?
#[derive(Debug, Clone)]
pub(super) struct Named<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Named<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = Named<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<V>, A::Error> {
                let mut entries: Vec<(String, V)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if entries.iter().any(|(other, _)| *other == key) {
                        return Err(A::Error::custom(format_args!("`{}` is written twice", key.escape_default())));
                    }
                    if entries.len() == LONGEST {
                        return Err(A::Error::custom(format_args!("an object has at most {LONGEST} entries")));
                    }
                    entries.push((key, value));
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// A JSON object and nothing else: what is derived for a struct would take a list of its fields, too.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}
