"""Networks and entropy coding joined: pictures to substreams and back."""
