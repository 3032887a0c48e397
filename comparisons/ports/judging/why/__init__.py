"""Why a difference is not what rounding makes of two runs that go their own ways."""
