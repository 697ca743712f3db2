//! Wire to `Record`: whatever the release or the channel, one shape from here on.
