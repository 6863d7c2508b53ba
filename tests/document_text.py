"""A passage that the tests of documents share."""

PROSE = (
    "The harbour was built in the year 1821 by fishermen of the village. They carried every stone by hand. "
    "A storm destroyed the first wall before it was finished, and the work began again in spring. "
)
