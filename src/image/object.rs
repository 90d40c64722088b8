//! JSON objects, and nothing else that serde would take for one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What is read from an object. What derives `Deserialize` is read from a list too, its elements for the fields in order:
/// of a document that others read, that would be another reading of it.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug)]
    struct Pair {
        one: String,
        other: Option<Vec<u8>>,
    }

    #[test]
    fn an_object_is_read_and_a_list_is_not() {
        let Object(pair): Object<Pair> = serde_json::from_str(r#"{"other":[1],"one":"a","more":{}}"#).unwrap();
        assert_eq!((pair.one.as_str(), pair.other), ("a", Some(vec![1])));
        assert!(serde_json::from_str::<Pair>(r#"["a",null]"#).is_ok(), "else none of this is needed");
        for other in [r#"["a",null]"#, "[]", "null", "7", "\"a\"", "{}", r#"{"one":"a","one":"b"}"#] {
            assert!(serde_json::from_str::<Object<Pair>>(other).is_err(), "{other}");
        }
        assert!(serde_json::from_str::<Option<Object<Pair>>>("null").unwrap().is_none());
    }
}
