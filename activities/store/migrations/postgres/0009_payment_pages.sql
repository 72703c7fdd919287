-- Where a customer authenticates a payment: an address of the gateway's, which may be the right to do so and is kept nowhere else.
ALTER TABLE payment_operations ADD COLUMN action_url TEXT;
