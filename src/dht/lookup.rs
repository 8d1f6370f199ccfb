//! Walking towards an id, several queries in flight.
