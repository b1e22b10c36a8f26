/// An enum whose values have names that users see, with the list of all of them: what lists them elsewhere, such as a
/// page of `docs/`, can be compared with it.
#[macro_export]
macro_rules! closed_set {
    (
        $(#[$about_set:meta])*
        $visibility:vis enum $set:ident {
            $($(#[$about_value:meta])* $value:ident = $name:literal,)+
        }
    ) => {
        $(#[$about_set])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $set {
            $($(#[$about_value])* $value,)+
        }

        impl $set {
            /// All of them.
            #[allow(dead_code, reason = "some are listed by tests only")]
            $visibility const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The name that users see.
            $visibility fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }
    };
}
